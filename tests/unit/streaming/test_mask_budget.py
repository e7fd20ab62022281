import torch

from tests.unit.streaming.tiny import tiny_predictor


def test_masks_that_leave_memory_early_change_nothing():
    model = tiny_predictor("DVIS_DAQ_online", "MODEL.LIFECYCLE.PATIENCE", "2").model
    video = {"images": torch.randint(0, 256, (7, 3, 40, 56)), "height": 50, "width": 60}
    with torch.no_grad():
        [whole] = model([video])
        model.mask_budget = 10_000  # some frames
        [pieces] = model([video])
        model.mask_budget = 0
        [frames] = model([video])
    for found in (pieces, frames):
        assert found["ids"].equal(whole["ids"]) and found["labels"].equal(whole["labels"])
        torch.testing.assert_close(found["scores"], whole["scores"])
        assert found["masks"] == whole["masks"]
