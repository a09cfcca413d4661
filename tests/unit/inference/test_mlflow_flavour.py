"""A model of every family, saved for MLflow, predicts there what it predicts here, wherever it is moved to."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import assay
from assay.errors import DataError, StorageError
from assay.inference.mlflow_flavour import save_flavour
from assay.inference.parity import own_items
from assay.inference.stored import PORTABLE, find_model
from tests.helpers.trained import FAMILIES

pytestmark = [pytest.mark.system, pytest.mark.filterwarnings("ignore")]  # of MLflow's, about itself


@pytest.fixture(scope="module")
def saved(trained_families, tmp_path_factory):
    """Give a folder with the saved model of every family."""
    folder = tmp_path_factory.mktemp("flavours")
    with pytest.MonkeyPatch.context() as patch:
        trained_families.enter(patch)
        for name in FAMILIES:
            save_flavour(find_model(name), folder / name)
    return folder


def loaded(folder):
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(folder))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_predicts_the_same_in_mlflow(families, saved, name, tmp_path, monkeypatch):
    items = own_items(assay.load_model(name).stored)
    expected = assay.load_model(name).predict(items)
    monkeypatch.setenv("ASSAY_STORAGE", str(tmp_path / "elsewhere"))
    frame = items if isinstance(items, pl.DataFrame) else pl.DataFrame({"path": list(map(str, items))})
    found = pl.from_pandas(loaded(saved / name).predict(frame.to_pandas()))
    if name == "multilabel":
        expected = expected.with_columns(pl.col("predicted_labels").list.join(";"))
        found = found.with_columns(pl.col("predicted_labels").list.join(";"))
    assert_frame_equal(found, expected, check_exact=True)


def test_what_mlflow_gets_that_the_model_does_not_read_is_one_sentence(families, saved):
    import pandas as pd

    with pytest.raises(DataError, match="expected one column with paths or bytes, but got a, b"):
        loaded(saved / "softmax").predict(pd.DataFrame({"a": ["1.png"], "b": ["2.png"]}))
    with pytest.raises(DataError, match="needs 4 columns, and 4 of them are not in the table"):
        loaded(saved / "table").predict(pd.DataFrame({"a": [1.0]}))
    with pytest.raises(DataError, match="can't be read"):
        loaded(saved / "softmax").predict([b"no picture"])


def test_a_damaged_description_is_refused_by_its_name(families, saved, tmp_path):
    data = saved / "softmax" / "data" / "assay"
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in data.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert find_model(copy).card == find_model("softmax").card
    (copy / PORTABLE).write_text('{"kind": "crops"}')
    with pytest.raises(StorageError, match=r"assay-model\.json is damaged, or of another version of Assay"):
        find_model(copy)
