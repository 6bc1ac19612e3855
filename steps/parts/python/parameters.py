# Parameters come as variables of Octopus. What is wrong with them is collected and told in one go.
ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}\Z"
EXPRESSION_PATTERN = r"#\{(?:[^{}]*\})?"
ONE_EXPRESSION = r"#\{[^{}]+\}\Z"
problems = []


def variable(name):
    try:
        return get_octopusvariable(name) or ""
    except KeyError:  # how older versions say that there is none
        return ""


def parameter(name, default, not_set=r"\Z"):
    value = variable(name).strip()
    # Octopus leaves an expression that it cannot resolve as it stands.
    if re.match(not_set, value):
        value = ""
    for expression in re.findall(EXPRESSION_PATTERN, value):
        problems.append(
            f"{name} contains '{expression}', which Octopus did not resolve: expected a variable of that name in scope"
        )
    return value or default


def problem(name, value, expected):
    if any(text.startswith(name + " contains ") for text in problems):
        return  # an unresolved expression says it all
    problems.append(f"{name} is '{value}': expected {expected}")
