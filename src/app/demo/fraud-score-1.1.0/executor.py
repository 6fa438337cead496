"""Scores a card payment: a logistic model with hand-set weights, so that every score can be explained.

Deterministic: the same payment gets the same score. Since 1.1.0 it looks at how fast a payer's payments follow each
other, in minutes, where 1.0.0 only counted them.
"""

import math

INTERCEPT = -4.4
# Who shops needs longer than this from one payment to the next; a script that tries stolen cards does not.
SHOPPING_MINUTES = 15


def invoke(input_data, ctx):
    with ctx.span("pace"):
        minutes = pace(input_data)

    with ctx.span("features", channel=input_data["channel"]):
        signals = {name: weight for name, weight in features(input_data, minutes) if weight > 0}

    with ctx.span("score", signals=len(signals)):
        score = round(logistic(INTERCEPT + sum(signals.values())), 4)
        decision = decide(score, ctx.config)

    # Plain output of a plugin ends up in the trace's logs too.
    print(f"scored {score} from {len(signals)} signals")
    if decision != "accept":
        # Never the card number: fields of a log line are kept as they are.
        ctx.log.warning("payment needs attention", decision=decision, score=score, country=input_data["country"])
    ctx.metric("fraud_score", score)

    # The strongest reason first.
    reasons = sorted(signals, key=lambda name: (-signals[name], name))
    return {"score": score, "decision": decision, "reasons": reasons}


def pace(payment):
    """Minutes from one of the payer's payments to the next; None where the caller does not count them."""
    payments = payment.get("payments_last_hour")
    if payments is None:
        return None
    print(f"pace: 60 minutes / {payments} payments in the last hour")
    return 60 / payments


def features(payment, minutes):
    """Every signal with what it adds to the log odds of fraud; 0 where it is absent."""
    amount = payment["amount"]
    yield "high_amount", 1.9 * min(math.log10(amount / 100), 2) if amount > 100 else 0

    age = payment["account_age_days"]
    yield "new_account", 1.7 * (1 - age / 30) if age < 30 else 0

    yield "at_night", 0.8 if payment["hour"] < 6 else 0
    yield "card_not_present", 0.6 if payment["channel"] != "pos" else 0
    yield "foreign_card", 1.2 if payment.get("card_country", payment["country"]) != payment["country"] else 0
    yield "rapid_payments", 0.25 * (SHOPPING_MINUTES - minutes) if minutes is not None else 0

    number = payment.get("card_number")
    yield "bad_card_number", 2.5 if number is not None and not luhn(number) else 0


def logistic(log_odds):
    return 1 / (1 + math.exp(-log_odds))


def decide(score, config):
    if score >= config["decline_from"]:
        return "decline"
    return "review" if score >= config["review_from"] else "accept"


def luhn(number):
    """The check digit of ISO/IEC 7812: catches any single wrong digit."""
    total = 0
    for place, character in enumerate(reversed(number)):
        digit = int(character)
        if place % 2 == 1:
            digit = digit * 2 - 9 if digit > 4 else digit * 2
        total += digit
    return total % 10 == 0
