"""Captions of a person, derived from the drawn attributes."""

from rodin.avatars.person import Person, generator

LENGTHS = {
    "short": "short",
    "cropped": "cropped",
    "side-parted": "side-parted",
    "spiky": "spiky",
    "curly": "curly",
    "long": "long",
    "wavy": "long wavy",
}


def noun(person: Person) -> str:
    """Noun with the age, without article: "young woman", "man", "boy"."""
    if person.age < 0.3:
        return "girl" if person.gender == "woman" else "boy"
    if person.age < 0.6:
        return f"young {person.gender}"
    return f"old {person.gender}" if person.age > 0.8 else person.gender


def hair(person: Person) -> str:
    """The hair in words: "short blond hair", "a red ponytail"."""
    if person.hair_style in ("bob", "ponytail", "bun"):
        return f"{person.hair_colour} hair in a {person.hair_style}"
    return f"{LENGTHS[person.hair_style]} {person.hair_colour} hair"


def top(person: Person) -> str:
    """The clothing with its article: "a striped green shirt"."""
    pattern = "" if person.pattern == "plain" else f"{person.pattern} "
    return with_article(f"{pattern}{person.shirt_colour} {_garment(person)}")


def extras(person: Person) -> list[str]:
    """Beard, glasses and hat, each in words with its article."""
    words = []
    if person.beard:
        words.append("stubble" if person.beard == "stubble" else with_article(person.beard))
    if person.glasses:
        words.append(f"{person.glasses} glasses")
    if person.hat:
        words.append(with_article(person.hat))
    return words


def caption(person: Person) -> str:
    """The full caption: "a smiling woman with short blond hair, round glasses and a striped green shirt"."""
    face = "" if person.expression == "neutral" else f"{person.expression} "
    return f"{with_article(face + noun(person))} with {_listed([hair(person), *extras(person), top(person)])}"


def captions(person: Person, count: int, seed: int) -> list[str]:
    """Several captions of one person.

    Args:
        person: the attributes.
        count: number of captions, at least 1.
        seed: of the choice of partial captions.

    Returns:
        `count` captions, the full one first; the others name part of the attributes in other words.
    """
    if count < 1:
        raise ValueError(f"captions: got {count}, wanted at least 1")
    rng = generator(seed, "captions", str(person.seed))
    partial = [text for text in dict.fromkeys(_partial(person)) if text != caption(person)]
    order = rng.permutation(len(partial))
    chosen = [partial[number] for number in order[: count - 1]]
    while len(chosen) < count - 1:
        chosen.append(partial[int(rng.integers(len(partial)))])
    return [caption(person), *chosen]


def _partial(person: Person) -> list[str]:
    who, someone = noun(person), person.gender
    colour = f"{person.hair_colour} hair"
    garment = with_article(f"{person.shirt_colour} shirt")
    sentences = [
        f"a person with {colour}",
        f"a person in {garment}",
        f"{with_article(someone)} with {colour}",
        f"{with_article(someone)} in {garment}",
        f"{with_article(who)} with {hair(person)}",
        f"{with_article(who)} wearing {top(person)}",
        f"a portrait of {with_article(who)} with {colour} and {garment}",
        f"a photo of {with_article(who)}",
        f"{with_article(someone)} with {hair(person)} and {top(person)}",
        f"a person with {colour} and {garment}",
    ]
    if person.expression != "neutral":
        sentences.append(f"{with_article(person.expression + ' ' + someone)} with {colour}")
    for extra in extras(person):
        sentences.append(f"a portrait of {with_article(who)} with {colour} and {extra}")
        sentences.append(f"{with_article(someone)} with {extra}")
    return sentences


def _garment(person: Person) -> str:
    return "shirt" if person.top == "t-shirt" else person.top


def with_article(words: str) -> str:
    """Words after "a" or "an"."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
