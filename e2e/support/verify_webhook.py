"""Reads {"secret", "headers", "body"} as JSON; exit 0 if the package of PyPI takes the signature, 3 if it refuses it."""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

call = json.load(sys.stdin)
try:
    Webhook(call["secret"]).verify(call["body"], call["headers"])
except WebhookVerificationError:
    sys.exit(3)
