"""The client that openapi-generator makes for Python: `-g python`, package `convodb_client`."""

import json

import convodb_client as convodb

from stored import TOKEN, URL, check, stored


def walk(api: convodb.ConversationsApi) -> tuple[list[dict], list[dict]]:
    """Reads the whole list by its cursors, forward to the end and back to the beginning."""
    page = api.list_conversations(per_page=40)
    forward = page.data
    while page.next_cursor is not None:
        page = api.list_conversations(cursor=page.next_cursor)
        forward += page.data
    back = page.data
    while page.prev_cursor is not None:
        page = api.list_conversations(cursor=page.prev_cursor)
        back = page.data + back
    return [json.loads(item.to_json()) for item in forward], [json.loads(item.to_json()) for item in back]


def main() -> None:
    configuration = convodb.Configuration(host=URL, access_token=TOKEN)
    with convodb.ApiClient(configuration) as client:
        api = convodb.ConversationsApi(client)
        expected = stored()
        forward, back = walk(api)
        check(forward, expected, "the list forward")
        check(back, expected, "the list back")
        kind = convodb.ConversationType.WHATSAPP
        page = api.list_conversations(type=[kind], customer_phone="+14155550049")
        check([item.message_count for item in page.data], [4], "the list by a phone")
        # The client reads no other media type than JSON by itself.
        lines = api.export_conversations_without_preload_content(messages="1").data.decode()
        report = api.import_conversations(body=lines)
        check((report.already_present, report.rejected), (len(expected), 0), "the import")

        assistant = convodb.UserAndAssistantsApi(client).list_assistants().data[0]
        created = api.create_conversation(
            convodb.NewConversation(
                assistant_id=convodb.AssistantRef(str(assistant.uuid)),
                type=kind,
                customer=convodb.GivenContact(name="Jo", phone="+14155559876"),
                variables={"plan": "pro"},
            ),
            idempotency_key="generated-python",
        )
        uuid = created.conversation_id
        api.append_message(uuid, convodb.NewMessage(message="Where is my order?"))
        content = convodb.MessageContent("It is on its way.")
        appended = api.append_message(
            uuid, convodb.NewMessage(role=convodb.Role.ASSISTANT, content=content, cost=0.0008)
        )
        check(appended.message_count, 2, "the number of messages")
        change = convodb.ConversationChange(customer=convodb.GivenContact(name="Joanna"))
        changed = api.change_conversation(uuid, change)
        check(changed.customer.to_dict(), {"name": "Joanna", "phone": "+14155559876"}, "the change")
        read = api.read_conversation(uuid)
        texts = [message.content for message in read.history]
        check(texts, ["Where is my order?", "It is on its way."], "the history")
        check((read.total_cost, read.variables), (0.0008, {"plan": "pro"}), "the conversation")

        groups = ["type"]
        sum_of_list = sum(item["total_cost"] for item in expected) + read.total_cost
        total = api.read_statistics(group_by=groups, var_from="2025-01-01").total
        check(round(total.total_cost, 9), round(sum_of_list, 9), "the sum of the costs")

        api.delete_conversation(uuid)
        try:
            api.read_conversation(uuid)
        except convodb.exceptions.NotFoundException as error:
            check(error.data.message, "Conversation not found", "the error")
        else:
            raise SystemExit("a deleted conversation can be read")


if __name__ == "__main__":
    main()
