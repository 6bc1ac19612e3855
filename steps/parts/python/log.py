knows_claims = False  # the server has said our claim, so a grant has to be confirmed
family_set = ""
details_said = False


def note(answer):
    # What an answer says besides.
    global knows_claims, family_set, details_said
    if word(answer, "claim") == claim and not knows_claims:
        knows_claims = True
        set_octopusvariable("Octowait.Claim", claim)
    family = word(answer, "family")
    if family and family != family_set:
        family_set = family
        set_octopusvariable("Octowait.Family", family, True)
    details = word(answer, "details", DETAILS_PATTERN)
    if details and not details_said:
        details_said = True
        say(f"Details: {details}")
