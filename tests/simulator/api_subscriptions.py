"""Subscriptions over the API."""

from __future__ import annotations

from tests.simulator.api_documents import filtered
from tests.simulator.envelope import collection
from tests.simulator.model import Subscription
from tests.simulator.payload import subscription_resource
from tests.simulator.routing import Answer, Call, Created, Routes

routes = Routes()


def _shown(call: Call, subscription: Subscription) -> dict[str, object]:
    return subscription_resource(subscription, call.octopus.subscriptions.has_sensitive_values)


@routes("GET", "subscriptions", "SubscriptionView")
def subscriptions(call: Call) -> Answer:
    found = filtered(call, call.octopus.store.all("Subscriptions"))
    return collection(call, found, "Subscription", lambda subscription: _shown(call, subscription))


@routes("GET", "subscriptions/all", "SubscriptionView")
def all_subscriptions(call: Call) -> Answer:
    return [_shown(call, s) for s in filtered(call, call.octopus.store.all("Subscriptions"))]


@routes("POST", "subscriptions", "SubscriptionCreate")
def create(call: Call) -> Answer:
    return Created(_shown(call, call.octopus.subscriptions.create(call.home.id, call.body)))


@routes("GET", "subscriptions/{id}", "SubscriptionView")
def subscription(call: Call) -> Answer:
    return _shown(call, call.get("Subscriptions", call.ids["id"]))


@routes("PUT", "subscriptions/{id}", "SubscriptionEdit")
def update(call: Call) -> Answer:
    found = call.get("Subscriptions", call.ids["id"])
    call.octopus.subscriptions.update(found, call.body)
    return _shown(call, found)


@routes("DELETE", "subscriptions/{id}", "SubscriptionDelete")
def delete(call: Call) -> Answer:
    call.octopus.store.remove(call.get("Subscriptions", call.ids["id"]))
    return {}
