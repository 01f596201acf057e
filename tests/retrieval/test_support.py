import pytest

from septet.retrieval.support import sentences, supported

PASSAGE = "os.path.join(a, *p)\n\nJoin two or more pathname components, inserting '/' as needed. Added in version 3.4."


@pytest.mark.parametrize(
    ("sentence", "verdict"),
    [
        ("`os.path.join` joins two or more pathname components.", True),
        ("It joins pathname components, inserting a / as needed.", True),
        ("It joins three or more audio streams.", False),
        ("It joins pathname components since version 3.5.", False),
        ("os.path.split joins pathname components.", False),
        ("It is.", False),
        ("", False),
    ],
)
def test_supported(sentence: str, verdict: bool) -> None:
    assert supported(sentence, [PASSAGE]).supported is verdict


def test_coverage_by_hand_and_what_is_missing() -> None:
    found = supported("Join zebra pathname 7", [PASSAGE])
    assert found.covered == pytest.approx(2 / 4)
    assert found.missing == ("7",)


def test_sentences_do_not_break_names() -> None:
    assert sentences("Use os.path.join. It works!\n\nTry it") == ["Use os.path.join.", "It works!", "Try it"]
