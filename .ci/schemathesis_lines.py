# JSON lines are a text as they stand, which schemathesis does not know of this media type.
import schemathesis

schemathesis.serializer.alias("application/x-ndjson", "text/plain")
