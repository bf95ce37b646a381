//! Texts: every word that a screen shows, in one table.

macro_rules! texts {
    ($($name:ident = $text:literal;)*) => {
        $(#[doc = concat!("`", $text, "`")] pub const $name: &str = $text;)*
    };
}

texts! {
    PRODUCT = "convodb";
    CONVERSATIONS = "Conversations";
    CONVERSATION = "Conversation";
    CUSTOMER = "Customer";
    VOLUMES = "Volumes and costs";
    STATEMENT = "Billing statement";
    MENU = "Screens";
    API_DOCS = "API reference";
    SKIP = "Skip to the content";
    SIGN_IN = "Sign in";
    SIGN_OUT = "Sign out";
    SIGN_IN_HINT = "Sign in with an access token of your account. It is checked at each request, so revoking it signs you out at once.";
    TOKEN = "Access token";
    TOKEN_HELP = "An operator creates one with";
    TOKEN_COMMAND = "convodb token create --user NAME";
    TOKEN_REFUSED = "This token is unknown, revoked or expired.";
    SESSION_ENDED = "The session has ended. Sign in again to continue where you were.";
    SIGNED_OUT = "You are signed out.";

    TYPE = "Type";
    ASSISTANT = "Assistant";
    CUSTOMER_PHONE = "Customer phone";
    SENDER_PHONE = "Sender phone";
    IDENTIFIER = "External identifier";
    CREATED = "Created";
    FROM = "From";
    TO = "To";
    ANY = "Any";
    ORDER = "Order";
    NEWEST_FIRST = "Newest first";
    OLDEST_FIRST = "Oldest first";
    ROWS = "Rows";
    APPLY = "Apply";
    CLEAR = "Clear all";
    REMOVE = "Remove this filter";
    FILTERS = "Filters";
    MESSAGES = "Messages";
    COST = "Cost";
    AI = "AI";
    AI_ON = "On";
    AI_OFF = "Off";
    UPDATED = "Updated";
    NEWER = "Newer";
    OLDER = "Older";
    PAGES = "Pages of the list";
    FIRST_PAGE = "Back to the start";
    NO_CONVERSATIONS = "No conversations yet";
    NO_CONVERSATIONS_HINT = "They appear here as soon as the API or an import creates the first one.";
    NO_MATCH = "No conversation matches these filters";
    NO_MATCH_HINT = "Filters are exact: a phone is compared byte for byte, a plus sign included.";
    CHECK_FILTERS = "Check the filters";
    NEW_ONES = "new";
    SHORTCUTS = "Keyboard shortcuts";
    CLOSE = "Close";
    KEY_NEXT = "Next row";
    KEY_PREVIOUS = "Previous row";
    KEY_OPEN = "Open the row";
    KEY_FILTER = "Filter by customer";
    KEY_PAGES = "Older and newer page";
    KEY_BACK = "Back to the list";
    KEY_HELP = "This help";
    AS_CURL = "Copy as curl";
    AS_CURL_HINT = "The same request of the API. Put your token into TOKEN first.";
    COPY = "Copy";
    COPIED = "Copied";
    ENTRIES_READ = "entries read";
    OFFLINE = "The server cannot be reached. What you see may be out of date.";
    LOADING = "Loading";

    BACK = "Back to the list";
    PREVIOUS_ONE = "Previous conversation";
    NEXT_ONE = "Next conversation";
    DETAILS = "Details";
    ID = "Id";
    COPY_ID = "Copy the id";
    VARIABLES = "Variables";
    SENDER = "Sender";
    TOTAL_COST = "Total cost";
    AI_REPLIES = "AI replies";
    TURN_OFF = "Turn off";
    TURN_ON = "Turn on";
    HISTORY = "History";
    EARLIER = "Earlier messages";
    LATER = "Later messages";
    NO_MESSAGES = "No messages are stored for this conversation.";
    PARTIAL_HISTORY = "Some messages were counted, but are not stored.";
    CALLED = "Called";
    ALL_OF_CUSTOMER = "All conversations of this customer";
    ROLE_USER = "Customer";
    ROLE_ASSISTANT = "Assistant";
    ROLE_SYSTEM = "System";
    ROLE_TOOL = "Tool";

    FIND_CUSTOMER = "Find a customer";
    FIND = "Find";
    FIND_CUSTOMER_HINT = "Enter a phone number as it is stored, a plus sign included.";
    NO_CUSTOMER = "No conversation with this phone";
    FIRST_CONTACT = "First contact";
    LAST_CONTACT = "Last contact";
    TOTALS_OF_FIRST = "Totals of the newest";

    PERIOD = "By";
    DAY = "Day";
    WEEK = "Week";
    MONTH = "Month";
    SPLIT = "Split";
    SPLIT_TYPE = "Type";
    SPLIT_ASSISTANT = "Assistant";
    MEASURE = "Show";
    SHOW = "Show";
    COST_PER_CONVERSATION = "Cost per conversation";
    BEFORE = "the period before";
    NO_BASE = "nothing in the period before";
    UNCHANGED = "as in the period before";
    AS_CSV = "Download CSV";
    PRINT_STATEMENT = "Billing statement";
    NO_VOLUME = "No conversations in this period";
    NO_VOLUME_HINT = "Choose other dates.";
    TABLE = "The same numbers as a table";
    TOTAL = "Total";
    CHART = "Chart";
    TOO_MANY_BARS = "Too many bars for a chart. Choose a shorter period, or weeks or months.";
    STATEMENT_HINT = "Print this page, or save it as a PDF, from your browser.";
    STATEMENT_FOR = "Conversations created from";
    UNTIL = "to";
    ALL_UTC = "Days are in UTC. Costs are in US dollars.";

    GO_BACK = "Go to the conversations";
    NOT_FOUND = "Not found";
    NOT_FOUND_HINT = "It does not exist, or your token does not reach it.";
    FORBIDDEN = "Not allowed";
    UNAVAILABLE = "The server is busy";
    UNAVAILABLE_HINT = "Try again in a moment.";
    WENT_WRONG = "Something went wrong";
    REQUEST_ID = "Request id";
}
