"""Facts of a person: for each attribute one short caption, so that no attribute hides behind the others."""

from rodin.avatars.caption import LENGTHS, with_article
from rodin.avatars.person import Person

TONES = ((0.78, "pale"), (0.66, "light"), (0.5, "tan"), (0.36, "brown"), (0.0, "dark"))
"""least mean of a skin's channels, 0..1, and its name; between the six tones that skin is drawn from"""


def facts(person: Person) -> dict[str, str]:
    """What a picture shows of a person, attribute by attribute, as captions that name nothing else.

    Args:
        person: the attributes.

    Returns:
        attribute -> a caption. Of one attribute, captions of two people are equal, or say what differs; both may be
        true of one person where one says less, as "long hair" of long wavy hair, or "a shirt" of one with a collar.
    """
    tone = sum(person.skin) / (3 * 255)
    return {
        "hair colour": f"a person with {person.hair_colour} hair",
        "hair style": f"a person with {_style(person)}",
        "shirt colour": f"a person in {with_article(person.shirt_colour)} shirt",
        "pattern": f"a person in {with_article(person.pattern)} top",
        "top": f"a person in {with_article('shirt' if person.top == 't-shirt' else person.top)}",
        "gender": with_article(person.gender),
        "age": _age(person),
        "glasses": f"a person with {person.glasses} glasses" if person.glasses else "a person without glasses",
        "hat": f"a person with {with_article(person.hat)}" if person.hat else "a person without a hat",
        "beard": _beard(person),
        "expression": f"{with_article(person.expression)} person",
        "skin": f"a person with {next(name for least, name in TONES if tone >= least)} skin",
    }


def _style(person: Person) -> str:
    if person.hair_style in LENGTHS:
        return f"{LENGTHS[person.hair_style]} hair"
    return f"hair in {with_article(person.hair_style)}"


def _age(person: Person) -> str:
    if person.age < 0.3:
        return "a child"
    return "a young person" if person.age < 0.6 else "an old person" if person.age > 0.8 else "a middle-aged person"


def _beard(person: Person) -> str:
    if person.beard is None:
        return "a person without a beard"
    return f"a man with {'stubble' if person.beard == 'stubble' else with_article(person.beard)}"
