"""What leaves a run of captured people does not say that they are synthetic; synthetic people stay so."""

import json
from pathlib import Path

import pytest
from fixtures.small_run import CONFIG, PEOPLE
from fixtures.tetrahedron import TETRAHEDRON
from PIL import Image

from rodin import Rodin
from rodin.generate import requests, uses
from rodin.generate.avatar import Avatar
from rodin.generate.condition import one_request
from rodin.generate.existing import saved_avatar
from rodin.generate.look import Look
from rodin.marks.marking import Marking
from rodin.marks.tags import AVATAR, FITTED, FITTED_MESH, MESH, Origin, texts
from rodin.presets.toml import to_toml
from rodin.store.run_folder import RunFolder

LOOK, PERSON = Look(16, 2, "png"), PEOPLE[0]


@pytest.fixture(params=["import", "avatars"])
def run(request: pytest.FixtureRequest, copy: RunFolder, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Origin]:
    """A run of captured or of synthetic people, and what its people's pictures are."""
    source = {"data": CONFIG.data.model_copy(update={"source": request.param})}
    copy.config_file.write_text(to_toml(CONFIG.model_copy(update=source)))
    monkeypatch.setattr(Avatar, "mesh", lambda *given: TETRAHEDRON)  # of a run of two steps there may be none
    return copy.path, FITTED if request.param == "import" else AVATAR


def tagged(folder: Path) -> list[dict[str, str]]:
    """The tags of each picture of a folder, without what it was made of."""
    found = []
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as image:
            image.load()
            found.append({key: str(value) for key, value in image.text.items() if key != "generated"})
    assert found
    return found


def test_people_of_a_run_and_what_is_made_of_them(run: tuple[Path, Origin], tmp_path: Path) -> None:
    path, origin = run
    out, named = tmp_path / "out", {"look": LOOK}
    uses.render_avatar(path, one_request(subject=PERSON), output=out / "render", **named)
    requests.edit_avatar(path, subject=PERSON, target="a hat", output=out / "edit", **named)
    requests.edit_avatar(path, saved=out / "edit", target="red hair", output=out / "again", **named)
    uses.render_avatar(path, one_request(saved=out / "again"), output=out / "saved", **named)
    ends = [one_request(seed=1), one_request(saved=out / "again")]
    uses.interpolate_avatars(path, ends, steps=2, output=out / "way", **named)
    for folder in out.iterdir():
        assert all(one == texts(origin) for one in tagged(folder)), folder
        assert json.loads((folder / "metadata.json").read_text()).get("captured", False) == (origin == FITTED)
    told = []
    uses.render_avatar(path, one_request(subject=PERSON), output=out / "render", tell=told.append, **named)
    assert told == [f"{out / 'render'}: this very avatar is there already and kept"]


def test_meshes_animations_and_signatures(
    run: tuple[Path, Origin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, origin = run
    signed = []
    monkeypatch.setattr(Marking, "sign", lambda self, folder, composites, origin: signed.append(origin))
    rodin = Rodin(path)
    rodin.subject(PERSON).save(tmp_path / "saved", look=Look(16, 2, "gif"))
    with Image.open(tmp_path / "saved" / "turntable.gif") as film:
        assert origin.words in film.info["comment"].decode()
    assert signed == [origin]
    saved_avatar(rodin.models, tmp_path / "saved").save_mesh(tmp_path / "a.glb", 16)
    words = FITTED_MESH.words if origin == FITTED else MESH.words
    assert words.encode() in (tmp_path / "a.glb").read_bytes()


def test_in_python_too_and_avatars_of_the_models_alone_are_synthetic(run: tuple[Path, Origin], tmp_path: Path) -> None:
    path, origin = run
    rodin = Rodin(path)
    person, made = rodin.subject(PERSON), rodin.sample(seed=3)
    twice = rodin.edit(rodin.edit(person, "a hat"), "red hair")
    between = rodin.interpolate(made, twice, steps=3)[1]
    for name, avatar, wanted in (("twice", twice, origin), ("between", between, origin), ("made", made, AVATAR)):
        avatar.save(tmp_path / name, look=LOOK)
        assert all(one == texts(wanted) for one in tagged(tmp_path / name)), name
