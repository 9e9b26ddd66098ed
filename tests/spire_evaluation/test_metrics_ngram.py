"""BLEU, spBLEU, chrF, TER: worked by hand, and equal to sacrebleu whatever the counts."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from scored_texts import WORDS, joined, references, spoil

from spire_dsu.errors import InputError
from spire_evaluation.metrics import Metric, MetricConfig, measure
from spire_evaluation.metrics.ngram import bleu_formula, chrf_formula, ter_formula
from spire_evaluation.significance import Formula

NONE = MetricConfig()
SACRE = {
    "bleu": (sacrebleu.BLEU(), bleu_formula),
    "chrf": (sacrebleu.CHRF(), chrf_formula),
    "ter": (sacrebleu.TER(asian_support=True), ter_formula),
}


@pytest.fixture(scope="module")
def flores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SentencePiece model as the one of FLORES-200 is, only small."""
    folder = tmp_path_factory.mktemp("spm")
    text = folder / "text"
    text.write_text("\n".join([*references(200), "guten Morgen", "你好世界"] * 3))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "m"),
        vocab_size=90,
        minloglevel=2,
        hard_vocab_limit=False,
        num_threads=1,
    )
    (folder / "models").mkdir()
    return (folder / "m.model").rename(folder / "models" / "flores200sacrebleuspm")


def test_bleu_worked_by_hand() -> None:
    # the the cat mat / the cat is on the mat: 4/4 words, 1/3 pairs ("the cat"), then no match:
    # 1/2 of one in 2, 1/4 of one in 1; 4 words instead of 6.
    found = measure("bleu", joined(["the cat is on the mat"], ["the the cat mat"]), NONE)
    assert found.counts.tolist() == [[4, 6, 4, 1, 0, 0, 4, 3, 2, 1]]
    precisions = 1 * (1 / 3) * (0.5 / 2) * (0.25 / 1)
    assert found.score == pytest.approx(100 * math.exp(1 - 6 / 4) * precisions**0.25)
    assert (
        found.signature
        == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{sacrebleu.__version__}"
    )


def test_chrf_worked_by_hand() -> None:
    # abc / abx: 2 of 3 characters, 1 of 2 pairs, 0 of 1 triple, nothing longer.
    found = measure("chrf", joined(["abc"], ["abx"]), NONE)
    assert found.score == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)


def test_ter_worked_by_hand() -> None:
    # One shift of "a"; one substitution, whatever the case: 2 edits of 4 + 2 words.
    found = measure("ter", joined(["a b c d", "X y"], ["b c d a", "x z"]), NONE)
    assert found.counts.tolist() == [[1, 4], [1, 2]]
    assert found.score == pytest.approx(100 * 2 / 6)
    assert not found.higher_is_better


@pytest.mark.parametrize("metric", ["bleu", "chrf", "ter"])
def test_corpus_scores_are_sacrebleu_s(metric: Metric) -> None:
    texts = references(60)
    for answers in (texts, spoil(texts, 0.2, 1), [""] * 60, ["zzz"] * 60, ["a"] * 59 + [""]):
        library, _ = SACRE[metric]
        wanted = library.corpus_score(answers, [texts])
        found = measure(metric, joined(texts, answers), NONE)
        assert found.score == pytest.approx(wanted.score, abs=1e-9)
        assert found.signature == str(library.get_signature())


TEXT = st.lists(st.sampled_from(WORDS[:5]), max_size=7).map(" ".join)


@pytest.mark.parametrize("metric", ["bleu", "chrf", "ter"])
@given(pairs=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_formulas_are_sacrebleu_s_for_any_sums(
    metric: Metric, pairs: list[tuple[str, str]]
) -> None:
    library, formula = SACRE[metric]
    found = measure(metric, joined([r for r, _ in pairs], [h for _, h in pairs]), NONE)
    sums = np.cumsum(found.counts, axis=0)  # every prefix of the corpus at once
    wanted = [library._compute_score_from_stats(row.tolist()).score for row in sums]
    np.testing.assert_allclose(formula(sums), wanted, atol=1e-9)


@pytest.mark.parametrize("formula", [bleu_formula, chrf_formula, ter_formula])
def test_sums_of_nothing_score_nothing(formula: Formula) -> None:
    columns = {bleu_formula: 10, chrf_formula: 18, ter_formula: 2}[formula]
    assert formula(np.zeros((3, columns))).tolist() == [0, 0, 0]


def test_the_tokenizer_goes_by_the_target_language() -> None:
    both = joined(["你好世界你好"], ["你好世界"])
    assert "tok:zh" in measure("bleu", both, MetricConfig(lang="zho_Hans")).signature
    assert "tok:13a" in measure("bleu", both, MetricConfig(lang="ru")).signature


def test_spbleu_is_sacrebleu_s_with_the_same_file(flores: Path) -> None:
    texts = references(30)
    answers = spoil(texts, 0.2, 2)
    found = measure("spbleu", joined(texts, answers), MetricConfig(flores_spm=flores))
    code = (
        "import sys, sacrebleu, json; t, a = json.loads(sys.argv[1]);"
        "b = sacrebleu.BLEU(tokenize='flores200');"
        "print(repr(b.corpus_score(a, [t]).score), b.get_signature())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([texts, answers])],
        env={**os.environ, "SACREBLEU": str(flores.parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    score, signature = done.stdout.split()
    assert found.score == pytest.approx(float(score), abs=1e-9)
    assert found.signature == signature
    assert found.facts["tokenizer_sha256"] == hashlib.sha256(flores.read_bytes()).hexdigest()
    assert found.facts["tokenizer_verified"] is False


def test_spbleu_s_file_is_found_checked_and_never_fetched(
    flores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = joined(["a b"], ["a b"])
    monkeypatch.setenv("SACREBLEU", str(tmp_path))
    monkeypatch.delenv("SPIRE_FLORES_SPM", raising=False)
    with pytest.raises(InputError, match=r"models/flores200sacrebleuspm is no file: put the one"):
        measure("spbleu", both, NONE)
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("SPIRE_FLORES_SPM", str(flores))
    digest = hashlib.sha256(flores.read_bytes()).hexdigest()
    checked = measure("spbleu", both, MetricConfig(flores_sha256=digest))
    assert checked.facts["tokenizer_verified"] is True
    with pytest.raises(InputError, match=f"SHA-256 is {digest}, not 0000"):
        measure("spbleu", both, MetricConfig(flores_sha256="0" * 64))
    (tmp_path / "other").write_bytes(b"not a model")
    with pytest.raises(InputError, match="not a SentencePiece model"):
        measure("spbleu", both, MetricConfig(flores_spm=tmp_path / "other"))
