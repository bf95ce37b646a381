# Serializer for JSON lines: schemathesis does not know that this media type is plain text.
import schemathesis

schemathesis.serializer.alias("application/x-ndjson", "text/plain")
