"""SNS: subscriptions by e-mail that nobody has confirmed."""

from moto.core.responses import ActionResult
from moto.sns.exceptions import SNSInvalidParameter
from moto.sns.models import SNSBackend
from moto.sns.responses import SNSResponse

from . import replaces

PENDING = "PendingConfirmation"
PROTOCOLS = {"http", "https", "email", "email-json", "sms", "sqs", "application", "lambda", "firehose"}
BY_MAIL = {"email", "email-json"}


def repair():
    """Does all of it."""
    leave_mail_unconfirmed()
    list_as_pending()
    count_subscriptions()
    compare_tags()


def is_pending(subscription):
    return subscription.attributes.get(PENDING) is True


def leave_mail_unconfirmed():
    """Subscribe: by e-mail it waits for the click, which does not come; no other protocols than there are."""

    @replaces(SNSBackend, "subscribe")
    def subscribe(subscribe, self, topic_arn, endpoint, protocol):
        if protocol not in PROTOCOLS:
            raise SNSInvalidParameter(f"Invalid parameter: Does not support this protocol string: {protocol}")
        if protocol in BY_MAIL and "@" not in endpoint:
            raise SNSInvalidParameter("Invalid parameter: Email address")
        there = set(self.subscriptions)
        subscription = subscribe(self, topic_arn, endpoint, protocol)
        if protocol in BY_MAIL and subscription.arn not in there:
            subscription.attributes.update({PENDING: True, "ConfirmationWasAuthenticated": False})
        return subscription

    @replaces(SNSResponse, "subscribe")
    def answer(subscribe, self):
        result = subscribe(self).result
        subscription = self.backend.subscriptions[result["SubscriptionArn"]]
        if is_pending(subscription) and not self._get_param("ReturnSubscriptionArn"):
            return ActionResult({"SubscriptionArn": "pending confirmation"})
        return ActionResult(result)

    @replaces(SNSBackend, "unsubscribe")
    def unsubscribe(remove, self, subscription_arn):
        if subscription_arn not in self.subscriptions:
            raise SNSInvalidParameter("Invalid parameter: SubscriptionArn Reason: An ARN must be one of a subscription")
        return remove(self, subscription_arn)


def list_as_pending():
    """Lists show that one waits instead of its ARN."""
    for name in ("list_subscriptions", "list_subscriptions_by_topic"):

        @replaces(SNSResponse, name)
        def listed(method, self):
            result = method(self).result
            subscriptions = [
                {
                    "SubscriptionArn": PENDING if is_pending(subscription) else subscription.arn,
                    "Owner": subscription.owner,
                    "Protocol": subscription.protocol,
                    "Endpoint": subscription.endpoint,
                    "TopicArn": subscription.topic_arn,
                }
                for subscription in result["Subscriptions"]
            ]
            return ActionResult({**result, "Subscriptions": subscriptions})


def count_subscriptions():
    """GetTopicAttributes: says how many there are."""

    @replaces(SNSResponse, "get_topic_attributes")
    def get_topic_attributes(get, self):
        arn = self._get_param("TopicArn")
        if topic := self.backend.topics.get(arn):
            pending = [is_pending(one) for one in self.backend.subscriptions.values() if one.topic_arn == arn]
            topic.subscriptions_pending = sum(pending)
            # That is how moto spells it.
            topic.subscriptions_confimed = len(pending) - sum(pending)
        return get(self)


def compare_tags():
    """CreateTopic: the same name again is the same topic, but not with other tags."""

    @replaces(SNSBackend, "create_topic")
    def create_topic(create, self, name, attributes=None, tags=None):
        there = next((topic for topic in self.topics.values() if topic.name == name), None)
        if there and tags and there._tags != tags:
            raise SNSInvalidParameter("Invalid parameter: Tags Reason: Topic already exists with different tags")
        return create(self, name, attributes, tags)
