"""The command line of the experiments, and the claims that an experiment makes of its numbers."""

import json
import shlex

import pandas as pd
import pytest

from fewbits import evidence
from fewbits.data import load
from fewbits.experiments import __main__ as cli
from fewbits.experiments.binary import run as binary
from fewbits.experiments.common import checkpoint_path, measured, run_missing_rows, seeds
from fewbits.experiments.uniform import run as uniform
from fewbits.nets import MLP
from fewbits.training import load_model
from fewbits.uniform import UniformQuantizer


def test_every_experiment_module_is_offered():
    assert {"uniform", "bn_folding", "noise"} <= set(cli.names())
    assert "common" not in cli.names()


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["--help"], 0), (["nonsense"], 2)])
def test_help_and_errors_name_the_experiments(arguments, status, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == status
    shown = capsys.readouterr()
    assert "uniform" in shown.out + shown.err


def test_the_command_is_recorded_as_typed(monkeypatch):
    calls = []
    monkeypatch.setattr(uniform, "run", lambda options, command: calls.append((options.seeds, command)))
    cli.main(["uniform", "--seeds", "2"])
    assert calls == [(2, "python -m fewbits.experiments uniform --seeds 2")]


def test_a_recorded_command_can_be_typed_again(monkeypatch):
    """A method with blanks and commas in its name stays one argument."""
    calls = []
    monkeypatch.setattr(binary, "run", lambda options, command: calls.append((options.methods, command)))
    cli.main(["binary", "--methods", "binarynet, real ends", "bwn"])
    ((methods, command),) = calls
    assert methods == ["binarynet, real ends", "bwn"]
    assert shlex.split(command)[3:] == ["binary", "--methods", *methods]


def test_a_run_that_measures_everything_signs_for_values_that_are_on_record(monkeypatch, tmp_path):
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr(evidence.records, "_is_ancestor", lambda *commits: True)
    claims = [
        evidence.own_claim("demo/a", "A", evidence.part([1], type="count", runs=["one"], high=1), scale="notebook")
    ]
    signed = []
    for commit, again in (("a" * 40, False), ("b" * 40, False), ("b" * 40, True)):
        monkeypatch.setattr(evidence.records, "code_version", lambda commit=commit: commit)
        given = measured(claims, "again", 2.0) if again else claims
        (stored,) = evidence.record("demo", given, command="again", wall_s=2.0)
        signed.append([origin["commit"] for origin in stored["provenance"]])
    assert signed == [["a" * 40], ["a" * 40], ["b" * 40]]
    assert "origins" not in claims[0]["parts"][0]


def test_at_least_one_seed():
    assert list(seeds(2)) == [0, 1]
    with pytest.raises(ValueError, match="number of seeds"):
        seeds(0)


def test_checkpoints_lie_in_the_data_folder():
    assert checkpoint_path("uniform-mlp").is_file()
    assert checkpoint_path("uniform-mlp").stat().st_size < 1_000_000


# What two claims of `uniform` say is measured on the networks; the others follow from tables.
MEASURED = {"uniform/per-channel-error": 4, "uniform/integer-equals-simulated": 0}  # with so many decimals on record


def test_uniform_claims_follow_from_the_recorded_tables():
    """The numbers on record are those that the recorded tables give: nobody edited one without the other."""
    stored = {claim["id"]: claim for claim in evidence.load("uniform")}
    made = uniform.make_claims(evidence.rows("uniform_bits"), evidence.rows("uniform_calibration"), [1.0], [0])
    assert {claim["id"] for claim in made} == set(stored)
    for claim in made:
        if claim["id"] not in MEASURED:
            (ours,), (theirs,) = claim["parts"], stored[claim["id"]]["parts"]
            assert ours["values"] == pytest.approx(theirs["values"])
            assert (ours["type"], ours["holds"]) == (theirs["type"], theirs["holds"])


def test_measured_uniform_claims_are_those_of_the_frozen_network():
    stored = {claim["id"]: claim["parts"][0] for claim in evidence.load("uniform")}
    model, data = load_model(MLP(uniform.SIZES), checkpoint_path("uniform-mlp")), load("mnist5k")
    measured = uniform.per_channel_error_ratio(model), uniform.integer_mismatches(model, data)
    for (name, decimals), value in zip(MEASURED.items(), measured, strict=True):
        assert stored[name]["runs"][0] == "seed 0"
        assert stored[name]["values"][0] == pytest.approx(value, abs=0.5 * 10**-decimals)


def test_a_smaller_error_per_tensor_would_be_noticed(monkeypatch):
    """The ratio above is one of errors that were measured: with the same grid for both it is 1."""
    model = load_model(MLP(uniform.SIZES), checkpoint_path("uniform-mlp"))
    monkeypatch.setattr(uniform, "UniformQuantizer", lambda bits, channel_axis: UniformQuantizer(bits))
    assert uniform.per_channel_error_ratio(model) == 1


def test_a_doctored_table_no_longer_gives_the_claims():
    stored = {claim["id"]: claim for claim in evidence.load("uniform")}
    doctored = evidence.rows("uniform_bits")
    doctored.loc[(doctored.method == "qat") & (doctored.bits == 2), "accuracy"] += 1.0
    made = uniform.make_claims(doctored, evidence.rows("uniform_calibration"), [1.0], [0])
    claim = next(claim for claim in made if claim["id"] == "uniform/qat-recovers")
    assert claim["parts"][0]["values"] != pytest.approx(stored["uniform/qat-recovers"]["parts"][0]["values"])


def test_results_are_plain_json_and_csv():
    for path in evidence.results_dir().iterdir():
        assert path.suffix in {".json", ".csv"}
        if path.suffix == ".json":
            json.loads(path.read_text())
        else:
            assert len(pd.read_csv(path))


# --- tables that grow row by row --------------------------------------------------------------------------------------


@pytest.fixture
def empty_results(monkeypatch, tmp_path):
    monkeypatch.setenv("FEWBITS_RESULTS", str(tmp_path))
    monkeypatch.setattr(evidence.records, "code_version", lambda: "a" * 40)


SETTINGS = [{"method": method, "seed": seed} for method in ("a", "b") for seed in (0, 1)]


def test_only_missing_rows_are_measured_and_each_says_where_it_comes_from(empty_results):
    asked = []

    def measure(setting, minutes):
        asked.append(setting)
        return {"value": 1 / 3}

    assert run_missing_rows("uniform_rows", SETTINGS[:2], measure, "one")
    assert run_missing_rows("uniform_rows", SETTINGS, measure, "another")
    assert asked == SETTINGS
    table = evidence.rows("uniform_rows")
    assert table[["method", "seed"]].to_dict("records") == SETTINGS
    assert table.value.tolist() == [0.333333] * 4
    assert [origin["command"] for origin in evidence.origins(table)] == ["one"] * 2 + ["another"] * 2


def test_a_run_that_is_out_of_time_says_so_and_keeps_what_is_done(empty_results):
    left = []

    def measure(setting, minutes):
        left.append(minutes)
        return None if setting["seed"] else {"value": 1}

    assert not run_missing_rows("uniform_rows", SETTINGS, measure, "one", minutes=5)
    assert len(evidence.rows("uniform_rows")) == 1
    assert not run_missing_rows("uniform_rows", SETTINGS, measure, "one", minutes=0)
    assert len(left) == 2  # nothing was started without time
    assert all(4 < minutes <= 5 for minutes in left)


def test_rows_of_a_changed_checkout_are_refused(empty_results, monkeypatch):
    monkeypatch.setattr(evidence.records, "code_version", lambda: "a" * 40 + "-dirty")
    with pytest.raises(ValueError, match="not committed"):
        run_missing_rows("uniform_rows", SETTINGS, lambda setting, minutes: {"value": 1}, "one")
