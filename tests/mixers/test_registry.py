"""Names, options, wildcards and plug-ins."""

from __future__ import annotations

import doctest
import hashlib
import importlib
import importlib.metadata
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

import mixers
from mixers import Mixer, MixerError, create_mixer, list_mixers, register_mixer, registry
from mixers.registry import Entry, mixer_entry, mixer_options, nearest, split_mixers
from mixers.spec import parse_one

BUILT_IN = {"attention", "conv1x1", "dct", "fft_complex", "fft_real", "hadamard", "random"}

PLUGIN = '''
import torch
from mixers import Mixer

class MyMixer(Mixer):
    """Mixes by a mean."""

    def __init__(self, dim, size, strength=1.0):
        super().__init__(dim, size)
        self.strength = strength

    def forward(self, x):
        return x + self.strength * x.mean((2, 3), keepdim=True)

    def flops(self):
        return 2 * self.dim * self.tokens

class Other(MyMixer):
    pass
'''


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A copy of the registry, so that what a test registers is gone after it."""
    list_mixers()
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    monkeypatch.setattr(registry, "_PLUGINS", {})
    yield
    registry._load_plugin.cache_clear()
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], None]]:
    """Installs entry points {name: value} in the group of the plug-ins."""

    def install(points: dict[str, str]) -> None:
        def found(*, group: str) -> list[EntryPoint]:
            assert group == "token_mixers"
            return [EntryPoint(name, value, group) for name, value in points.items()]

        monkeypatch.setattr(importlib.metadata, "entry_points", found)
        registry._load_entry_points.cache_clear()

    yield install
    monkeypatch.undo()
    registry._load_entry_points.cache_clear()


class _Identity(Mixer):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def flops(self) -> int:
        return 0


class _Twin(_Identity):
    pass


def _register(name: str, cls: type[Mixer] = _Identity) -> None:
    register_mixer(name, family="test", paper="none", year=2000)(cls)


def _message(function: Callable, *arguments, **options) -> str:
    """The message of the MixerError that a call raises, which is one line."""
    with pytest.raises(MixerError) as caught:
        function(*arguments, **options)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


# names


def test_built_in_mixers_are_listed() -> None:
    assert set(list_mixers()) >= BUILT_IN


def test_every_entry_says_what_it_is() -> None:
    for name in list_mixers():
        entry = mixer_entry(name)
        assert entry.name == name
        assert issubclass(entry.cls, Mixer)
        assert entry.family
        assert entry.complexity
        assert entry.paper
        assert entry.year is None or 1800 < entry.year < 2100
        assert entry.source is None
        assert entry.cls.__doc__


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("dct", ["dct"]),
        ("fft_c*", ["fft_complex"]),
        ("had[a]mard", ["hadamard"]),
        ("d?t", ["dct"]),
        (["hadamard", "dct", "d*"], ["dct", "hadamard"]),
        ("nothing*", []),
        ("DCT", []),
        ([], []),
    ],
)
def test_wildcards(pattern: str | list[str], expected: list[str]) -> None:
    assert list_mixers(pattern) == expected


def test_natural_order() -> None:
    for name in ("zed10", "zed9", "zed2_b", "zed2", "zed10_2", "zed"):
        _register(name)
    assert list_mixers("zed*") == ["zed", "zed2", "zed2_b", "zed9", "zed10", "zed10_2"]


def test_a_registered_mixer_is_created_by_name() -> None:
    _register("of_this_test")
    mixer = create_mixer("of_this_test", 8, (2, 2))
    assert type(mixer) is _Identity
    assert mixer_entry("of_this_test") == Entry("of_this_test", _Identity, "test", "", "none", 2000)


def test_a_taken_name_names_both_sides() -> None:
    message = _message(_register, "dct")
    assert "'dct' is taken by mixers.families.separable:DCT" in message
    assert f"{__name__}:_Identity needs another" in message
    assert mixer_entry("dct").cls.__name__ == "DCT"


def test_the_same_class_may_come_again() -> None:
    _register("again")
    _register("again")
    assert mixer_entry("again").cls is _Identity


@pytest.mark.parametrize(
    "name", ["", "Upper", "with-dash", "with space", "9lives", "_hidden", "a:b", "a,b", "é", "dct\n"]
)
def test_a_malformed_name_is_refused(name: str) -> None:
    assert "is not a mixer name; allowed: lower-case letters, digits and underscores" in _message(_register, name)


@pytest.mark.parametrize("cls", [torch.nn.Identity, int, _Identity(8, (1, 1)), print])
def test_only_mixers_are_registered(cls: object) -> None:
    with pytest.raises(MixerError, match=r"not a subclass of mixers\.Mixer"):
        _register("something", cls)  # type: ignore[arg-type]
    assert "something" not in list_mixers()


@pytest.mark.parametrize(
    ("name", "near"),
    [("dctt", "dct"), ("fft_compelx", "fft_complex"), ("hadamart", "hadamard"), ("atention", "attention")],
)
def test_an_unknown_name_names_the_nearest(name: str, near: str) -> None:
    for function in (mixer_entry, split_mixers, lambda spec: create_mixer(spec, 8, (2, 2))):
        message = _message(function, name)
        assert f"unknown mixer {name!r}. Did you mean {near!r}? Known: " in message
        assert ", ".join(list_mixers()) in message


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    assert "Did you mean" not in _message(mixer_entry, "qqqqqqq")
    assert nearest("qqqqqqq", ["dct"]) == ""


# options


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("dct", ("dct", {})),
        (" dct ", ("dct", {})),
        ("dct()", ("dct", {})),
        ("attention(heads=4)", ("attention", {"heads": 4})),
        ("attention( heads = 4 , backend = plain )", ("attention", {"heads": 4, "backend": "plain"})),
        ("attention (heads=4,)", ("attention", {"heads": 4})),
        ("m(a=0.5,b=-1,c=True)", ("m", {"a": 0.5, "b": -1, "c": True})),
        ("m(a=None,b='x y',c=x y)", ("m", {"a": None, "b": "x y", "c": "x y"})),
        ("pkg.module:MyMixer(a=1)", ("pkg.module:MyMixer", {"a": 1})),
        ("some/folder/file.py:MyMixer(a=b=c)", ("some/folder/file.py:MyMixer", {"a": "b=c"})),
    ],
)
def test_options_are_parsed(spec: str, expected: tuple[str, dict]) -> None:
    parsed = parse_one(spec)
    assert (parsed.name, dict(parsed.options)) == expected


@pytest.mark.parametrize(
    "spec", ["", " ", "()", "(heads=4)", "attention(heads=4", "attention heads=4)", "dct dct", "attention(heads=4)x"]
)
def test_what_is_no_mixer_is_refused(spec: str) -> None:
    assert "is not a mixer; write a name, or a name with options such as attention(heads=4)" in _message(
        parse_one, spec
    )


@pytest.mark.parametrize("option", ["4", "heads", "heads=", "=4", "he ads=4", "4=heads"])
def test_what_is_no_option_is_refused(option: str) -> None:
    message = _message(parse_one, f"attention({option})")
    assert message.startswith(f"{option!r} in 'attention({option})' is not an option; write name=value")


def test_options_reach_the_mixer_and_keywords_win() -> None:
    assert create_mixer("attention(heads=4,backend=plain)", 16, (2, 2)).heads == 4
    assert create_mixer("attention(heads=4)", 16, (2, 2), heads=2).heads == 2
    assert mixer_options(mixer_entry("attention").cls) == ["heads", "backend", "positions"]
    assert mixer_options(mixer_entry("dct").cls) == ["method"]
    assert mixer_options(mixer_entry("conv1x1").cls) == []


@pytest.mark.parametrize("option", ["head", "dim", "size", "self"])
def test_an_unknown_option_names_the_nearest(option: str) -> None:
    for make in (
        lambda: create_mixer(f"attention({option}=4)", 16, (2, 2)),
        # dim and size cannot be given twice in Python
        lambda: create_mixer("attention", 16, (2, 2), **({"head": 4} if option in ("dim", "size") else {option: 4})),
    ):
        message = _message(make)
        assert "mixer 'attention' has no option" in message
        assert "it takes heads, backend, positions." in message
    assert "Did you mean 'heads'?" in _message(create_mixer, "attention(head=4)", 16, (2, 2))


def test_an_option_for_a_mixer_without_options_is_refused() -> None:
    assert "mixer 'conv1x1' has no option 'heads': it takes none." in _message(
        create_mixer, "conv1x1", 8, (2, 2), heads=4
    )
    assert "mixer 'pool' has no option 'heads': it takes kernel, subtract." in _message(
        create_mixer, "pool", 8, (2, 2), heads=4
    )


def test_a_mixer_that_takes_any_keyword_still_refuses_unknown_options() -> None:
    class Greedy(_Identity):
        def __init__(self, dim: int, size: tuple[int, int], depth: int = 1, **anything) -> None:
            super().__init__(dim, size)

    _register("greedy", Greedy)
    assert "Did you mean 'depth'?" in _message(create_mixer, "greedy", 8, (2, 2), dept=2)


# lists


def _written(text: str) -> list[str]:
    return [str(mixer) for mixer in split_mixers(text)]


def test_fnets_own_name_of_no_mixing_is_another_of_conv1x1() -> None:
    assert mixer_entry("ff_only") is mixer_entry("conv1x1")
    assert type(create_mixer("ff_only", 8, (1, 4))) is type(create_mixer("conv1x1", 8, (1, 4)))
    assert _written("ff_only,dct,conv1x1") == ["conv1x1", "dct"]
    assert _written("dct+ff_only") == ["dct+ff_only"]
    assert "ff_only" not in list_mixers()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dct", ["dct"]),
        ("dct,hadamard", ["dct", "hadamard"]),
        (" hadamard , dct,", ["hadamard", "dct"]),
        ("attention(heads=4,backend=plain),dct", ["attention(heads=4,backend=plain)", "dct"]),
        ("dct,attention(heads=4,backend=plain)", ["dct", "attention(heads=4,backend=plain)"]),
        ("attention(heads=4),attention(heads=2)", ["attention(heads=4)", "attention(heads=2)"]),
        ("d?t,hadam*,dct", ["dct", "hadamard"]),
    ],
)
def test_lists_are_split_outside_parentheses(text: str, expected: list[str]) -> None:
    assert _written(text) == expected


def test_a_star_is_every_mixer() -> None:
    assert _written("*") == list_mixers()
    assert _written("hadamard,*")[0] == "hadamard"
    assert sorted(_written("hadamard,*")) == sorted(list_mixers())


@pytest.mark.parametrize("text", ["", " , ,", "zzz*", "dct,zzz*"])
def test_a_list_without_a_mixer_says_which_there_are(text: str) -> None:
    message = _message(split_mixers, text)
    assert message.startswith("no mixer")
    assert f"known: {', '.join(list_mixers())}" in message


# plug-ins


def _write(folder: Path, text: str = PLUGIN, name: str = "my_file.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_class_in_a_file(tmp_path: Path) -> None:
    path = _write(tmp_path)
    spec = f"{path}:MyMixer"
    mixer = create_mixer(f"{spec}(strength=0.5)", 8, (2, 2))
    x = torch.randn(2, 8, 2, 2)
    assert torch.equal(mixer(x), x + 0.5 * x.mean((2, 3), keepdim=True))
    assert "Did you mean 'strength'?" in _message(create_mixer, spec, 8, (2, 2), strenght=1)
    assert _written(f"{spec}(strength=0.5),dct") == [f"{spec}(strength=0.5)", "dct"]
    net = mixers.MixerNet(spec, num_classes=3, img_size=8, dim=8, depth=2)
    assert net(torch.randn(2, 3, 8, 8)).shape == (2, 3)


def test_the_entry_of_a_file_holds_its_hash_and_a_name_without_the_path(tmp_path: Path) -> None:
    path = _write(tmp_path)
    spec = f"{path}:MyMixer"
    entry = mixer_entry(f"{spec}(strength=2)")
    assert entry.name == "my_file:MyMixer"
    assert entry.source == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry.origin == spec
    assert entry.family == "plug-in"
    assert "my_file:MyMixer" not in list_mixers()


def test_a_file_that_was_loaded_is_known_by_the_name_in_the_records(tmp_path: Path) -> None:
    assert "No module named 'my_file'" in _message(mixer_entry, "my_file:MyMixer")
    entry = mixer_entry(f"{_write(tmp_path)}:MyMixer")
    assert mixer_entry("my_file:MyMixer") is entry
    assert create_mixer("my_file:MyMixer(strength=2)", 8, (2, 2)).strength == 2


def test_two_files_that_records_could_not_tell_apart_are_refused(tmp_path: Path) -> None:
    (tmp_path / "same").mkdir()
    (tmp_path / "other").mkdir()
    first = mixer_entry(f"{_write(tmp_path)}:MyMixer")
    assert mixer_entry(f"{_write(tmp_path / 'same')}:MyMixer").source == first.source
    other = f"{_write(tmp_path / 'other', PLUGIN + '# changed')}:MyMixer"
    message = _message(mixer_entry, other)
    assert f"'{tmp_path}/my_file.py:MyMixer' and {other!r} would both be recorded as 'my_file:MyMixer'" in message
    assert mixer_entry("my_file:MyMixer") is first


def test_a_class_in_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_pkg").mkdir()
    (tmp_path / "some_pkg" / "__init__.py").touch()
    path = _write(tmp_path / "some_pkg", name="inner.py")
    monkeypatch.syspath_prepend(tmp_path)
    entry = mixer_entry("some_pkg.inner:MyMixer")
    assert entry.name == "some_pkg.inner:MyMixer"
    assert entry.source == hashlib.sha256(path.read_bytes()).hexdigest()
    assert create_mixer("some_pkg.inner:MyMixer(strength=2)", 8, (2, 2)).strength == 2


@pytest.mark.parametrize(
    ("text", "attribute", "reason"),
    [
        ("raise RuntimeError('broken inside')", "MyMixer", "RuntimeError: broken inside"),
        ("raise RuntimeError('over\\n  two lines')", "MyMixer", "RuntimeError: over two lines"),
        ("import no_such_module", "MyMixer", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def (", "MyMixer", "SyntaxError: "),
        (PLUGIN, "YourMixer", "it has no Mixer 'YourMixer'; it has: MyMixer, Other"),
        ("class MyMixer: pass", "MyMixer", "what it has of that name is no subclass of mixers.Mixer; it has: none"),
        (PLUGIN, "torch", "it has no Mixer 'torch'"),
    ],
)
def test_a_broken_file_is_reported_by_name_and_breaks_nothing(
    tmp_path: Path, text: str, attribute: str, reason: str
) -> None:
    spec = f"{_write(tmp_path, text)}:{attribute}"
    for function in (mixer_entry, split_mixers, lambda spec: create_mixer(spec, 8, (2, 2))):
        message = _message(function, spec)
        assert message.startswith(f"mixer {spec!r} cannot be loaded: ")
        assert reason in message
    assert create_mixer("dct", 8, (2, 2)) is not None


def test_a_file_can_be_repaired_and_tried_again(tmp_path: Path) -> None:
    path = _write(tmp_path, "raise RuntimeError")
    _message(mixer_entry, f"{path}:MyMixer")
    _write(tmp_path)
    assert mixer_entry(f"{path}:MyMixer").cls.__name__ == "MyMixer"


def test_a_file_or_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert f"there is no file '{tmp_path}/absent.py'" in _message(mixer_entry, f"{tmp_path}/absent.py:MyMixer")
    assert "No module named 'absent_module'" in _message(mixer_entry, "absent_module:MyMixer")


# entry points


def test_entry_points_register_classes_and_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry_points: Callable[[dict[str, str]], None]
) -> None:
    _write(tmp_path, name="their_classes.py")
    registering = PLUGIN.replace(
        "class MyMixer", "@register_mixer('by_module', family='f', paper='p', year=1)\nclass MyMixer"
    )
    _write(tmp_path, registering.replace("import Mixer", "import Mixer, register_mixer"), "their_module.py")
    monkeypatch.syspath_prepend(tmp_path)
    entry_points({"by_class": "their_classes:MyMixer", "whatever": "their_module"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list_mixers("by_*") == ["by_class", "by_module"]
    assert create_mixer("by_class(strength=3)", 8, (2, 2)).strength == 3
    assert mixer_entry("by_module").family == "f"
    assert mixer_entry("by_class").family == "plug-in"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("raising_module", "RuntimeError('broken inside')"),
        ("no_such_module_here:Thing", "ModuleNotFoundError"),
        ("their_classes:Absent", "AttributeError"),
        ("their_classes:torch.float32", "neither a module nor a Mixer class"),
        ("builtins:int", "is not a subclass of mixers.Mixer"),
    ],
)
def test_a_broken_entry_point_is_named_in_a_warning_and_breaks_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    entry_points: Callable[[dict[str, str]], None],
    value: str,
    reason: str,
) -> None:
    _write(tmp_path, name="their_classes.py")
    _write(tmp_path, "raise RuntimeError('broken inside')", "raising_module.py")
    monkeypatch.syspath_prepend(tmp_path)
    before = list_mixers()
    entry_points({"broken_one": value, "whole_one": "their_classes:MyMixer"})
    with pytest.warns(UserWarning) as caught:
        after = list_mixers()
    assert len(caught) == 1
    message = str(caught[0].message)
    assert message.startswith(f"token mixer plug-in 'broken_one' ({value}) is left out: ")
    assert reason in message
    assert set(after) == {*before, "whole_one"}
    with warnings.catch_warnings():  # once is enough
        warnings.simplefilter("error")
        assert create_mixer("whole_one", 8, (2, 2)) is not None


def test_an_entry_point_cannot_take_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry_points: Callable[[dict[str, str]], None]
) -> None:
    _write(tmp_path, name="their_classes.py")
    monkeypatch.syspath_prepend(tmp_path)
    entry_points({"dct": "their_classes:MyMixer"})
    with pytest.warns(UserWarning, match="taken by mixers.families.separable:DCT; their_classes:MyMixer needs another"):
        list_mixers()
    assert mixer_entry("dct").cls.__module__ == "mixers.families.separable"


# imports


def _run(code: str, cwd: Path) -> str:
    """Output of Python code in a process of its own; what it warns of is an error."""
    environment = os.environ | {"PYTHONPATH": str(Path(mixers.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, env=environment, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_mixers_does_not_import_timm(tmp_path: Path) -> None:
    code = "import sys, mixers; mixers.MixerNet('dct', depth=1); print('timm' in sys.modules)"
    assert _run(code, tmp_path) == "False\n"


_CREATE = """
import warnings
warnings.filterwarnings("error", message=".*regist.*|.*[Oo]verwrit.*")
{imports}
import timm
print(timm.list_models("mixernet*"))
print(type(timm.create_model("mixernet_nano", mixer="dct", num_classes=3)).__name__)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        "import timm, mixers",
        "import mixers, timm",
        "import mixers.timm.models",
        "import mixers, timm.layers",
        "from timm.models import create_model; import mixers",
    ],
)
def test_the_backbone_is_in_timm_in_either_order_of_imports(imports: str, tmp_path: Path) -> None:
    output = _run(_CREATE.format(imports=imports), tmp_path)
    assert output == "['mixernet_nano', 'mixernet_small', 'mixernet_tiny']\nMixerNet\n"


@pytest.mark.parametrize("module", ["mixers", "mixers.registry"])
def test_examples_in_the_documentation_are_true(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
