"""The converter's report as data and as a table, and the comparison of two models' outputs."""
import json

import numpy as np
import pytest
from qnn.converter.report import Report
from qnn.converter.verify import compare

VERIFIED = {"images": 1000, "different_classes": 0, "different_outputs": 2, "max_difference": 0.25, "speedup": 4.0,
            "seconds_trained": 4.0, "seconds_packed": 1.0}


@pytest.fixture
def report():
    result = Report(total_before=40000, total_after=2000)
    result.add("conv", "QConvolution", 1, 1, 32000, 1000)
    result.add("fc", "QFullyConnected", 2, 1, 400, 400, "2-bit data, 1-bit weights: only 1/1 is packed")
    return result


def test_table(report):
    header, conv, fc, total = str(report).splitlines()
    assert header.split() == ["layer", "kind", "bits", "bytes", "packed", "ratio"]
    assert conv.split() == ["conv", "QConvolution", "1/1", "32,000", "1,000", "32.0x"]
    assert fc.split()[:6] == ["fc", "QFullyConnected", "2/1", "400", "400", "1.0x"]
    assert fc.endswith("  float: 2-bit data, 1-bit weights: only 1/1 is packed")
    assert total.split() == ["all", "parameters", "40,000", "2,000", "20.0x"]
    assert len(conv) == len(header) == len(total)


def test_table_of_nothing():
    assert "(no Q layers: nothing to pack; make some with qnn.swap or qnn.sym)" in str(Report())
    assert str(Report()).splitlines()[-1].split() == ["all", "parameters", "0", "0", "0.0x"]


def test_dict_is_plain_data(report):
    report.files, report.verification = ["a-symbol.json"], VERIFIED
    data = json.loads(json.dumps(report.to_dict()))
    assert data["rows"][0] == {"layer": "conv", "kind": "QConvolution", "act_bit": 1, "weight_bit": 1,
                               "bytes_before": 32000, "bytes_after": 1000, "why": "", "note": ""}
    assert (data["total_before"], data["total_after"], data["files"]) == (40000, 2000, ["a-symbol.json"])
    assert data["verification"] == VERIFIED


def test_equal_means_equal_classes(report):
    assert report.is_equal
    report.verification = VERIFIED
    assert report.is_equal
    assert str(report).splitlines()[-1] == ("verified on 1,000 images: 0 classes differ, 2 outputs differ (by 0.25 at "
                                            "most); packed runs 4.0 times as fast")
    report.verification = {**VERIFIED, "max_difference": None}
    assert "2 outputs differ (NaN or infinite ones); packed" in str(report)
    report.verification = {**VERIFIED, "different_classes": 1}
    assert not report.is_equal


# ---- compare ---------------------------------------------------------------------------------------------------------

SCORES = np.array([[1, 2, 3], [6, 5, 4]], np.float32)


def compared(expected, got):
    result = compare(np.asarray(expected, np.float32), np.asarray(got, np.float32))
    assert list(result) == ["images", "different_classes", "different_outputs", "max_difference"]
    json.dumps(result, allow_nan=False)
    return tuple(result.values())


def test_equal_outputs():
    assert compared(SCORES, SCORES.copy()) == (2, 0, 0, 0.0)


def test_different_outputs_of_one_class():
    assert compared(SCORES, SCORES + [[0, 0, 0.5], [0.25, 0, 0]]) == (2, 0, 2, 0.5)


def test_different_classes():
    assert compared(SCORES, SCORES[:, ::-1]) == (2, 2, 4, 2.0)


def test_nan_equals_nan_and_no_number():
    nan = np.array([[np.nan, 2, 3], [6, 5, 4]], np.float32)
    assert compared(nan, nan.copy()) == (2, 0, 0, 0.0)
    images, classes, outputs, difference = compared(SCORES, nan)
    assert (images, classes, outputs, difference) == (2, 1, 1, None)


def test_infinities():
    inf = np.array([[np.inf, -np.inf, 0]], np.float32)
    assert compared(inf, inf.copy()) == (1, 0, 0, 0.0)
    assert compared(inf, -inf) == (1, 1, 2, None)
    assert compared([[3e38, 0]], [[-3e38, 0]])[3] == pytest.approx(6e38)  # beyond float32


def test_zeros_of_both_signs_are_equal():
    assert compared([[0.0, -0.0]], [[-0.0, 0.0]]) == (1, 0, 0, 0.0)


@pytest.mark.parametrize("shape", [(2,), (2, 1), (2, 3, 4, 4)])
def test_outputs_of_any_rank(shape):
    ones = np.ones(shape, np.float32)
    assert compared(ones, ones) == (2, 0, 0, 0.0)
    assert compared(ones, ones * 2) == (2, 0, ones.size, 1.0)
