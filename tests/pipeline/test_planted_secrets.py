"""A plugin that needs a secret: the token is used, but appears in no file, log, event, table or message."""

import pytest

from assay.dashboard.report import write_report
from assay.errors import SpecError
from assay.experiments.copying import pack_experiment

pytestmark = pytest.mark.system

TOKEN = "S3KR1T-planted-0123456789"  # noqa: S105

VAULT = """
from typing import Literal
from assay.errors import DataError
from assay.datasets.synthetic.build import build_numbers
from assay.spec.secrets import resolved
from assay.spec.base import Section, SecretReference
from assay.spec.generated_images import SourceKind
from assay.spec.generated_images import NumbersSource

class Vault(Section):
    kind: Literal["vault"] = "vault"
    api_key: SecretReference
    refuses: Literal["", "politely", "rudely"] = ""

def build(source, seed, folder, progress):
    token = resolved(source.api_key, "source.api_key")
    if source.refuses or not token.startswith("S3KR1T"):
        error = {"rudely": RuntimeError}.get(source.refuses, DataError)
        raise error(f"https://anna:{token}@vault.example.org refused {token}")
    size = {"width": 96, "height": 96}
    return build_numbers(NumbersSource(sample_count=12, img_size=size, max_amount=3), seed, folder, progress)

THING = SourceKind(Vault, "vault_source:build")
"""


@pytest.fixture
def vault(install_package, monkeypatch):
    monkeypatch.setenv("VAULT_API_KEY", TOKEN)
    install_package("assay.sources", "vault", "vault_source:THING", vault_source=VAULT)


def everything(lab, result):
    """Return all that was written or recorded: files by name, and the run's events with their metadata."""
    files = {str(path): path.read_bytes() for path in lab.folder.rglob("*") if path.is_file() and path.suffix != ".py"}
    events = "\n".join(map(repr, lab.instance.all_logs(result.run_id)))
    return {**files, "events": events.encode()}


def test_a_secret_that_is_used_is_written_nowhere(vault, lab):
    source = {"kind": "vault", "api_key": "${VAULT_API_KEY}"}
    lab.write("one", generated_images={"source": source})
    result = lab.run("one", "job_data_generation")
    assert result.success, lab.failure(result)
    write_report(lab.store.path, "one")
    pack_experiment(lab.store.specs, "one", lab.folder / "one.zip")
    found = everything(lab, result)
    assert len(found) > 30
    assert [name for name, content in found.items() if TOKEN.encode() in content] == []
    saved = (lab.store.folders.find("one").path / "configs" / "generated_images" / "config.yaml").read_text()
    assert "vault" in saved
    assert "api_key" not in saved


@pytest.mark.parametrize("how", ["politely", "rudely"])
def test_an_error_that_contains_a_secret_is_shown_without_it(vault, lab, how):
    source = {"kind": "vault", "api_key": "${VAULT_API_KEY}", "refuses": how}
    lab.write("one", generated_images={"source": source})
    result = lab.run("one", "job_data_generation")
    assert "https://***@vault.example.org refused ***" in lab.failure(result)
    assert [name for name, content in everything(lab, result).items() if TOKEN.encode() in content] == []


def test_a_secret_that_is_written_out_is_refused(vault, lab):
    lab.write("one", generated_images={"source": {"kind": "vault", "api_key": "abcdefgh"}})
    with pytest.raises(SpecError, match=r"source\.api_key: holds a secret; write \$\{NAME\}") as caught:
        lab.store.specs.load("one")
    assert "abcdefgh" not in str(caught.value)
