import pytest
from pydantic import ValidationError

from assay.spec.generated_images import NumbersSource


def message(**keys) -> str:
    with pytest.raises(ValidationError) as caught:
        NumbersSource(**keys)
    return str(caught.value)


def test_a_newcomer_may_leave_everything_out():
    spec = NumbersSource()
    assert (spec.sample_count, spec.max_number, spec.max_amount) == (400, 10, 8)
    assert spec.largest_angle == 45


def test_what_is_dumped_can_be_read_again():
    spec = NumbersSource(rotate=False, max_amount=3, augmentation={"blur": False})
    assert NumbersSource.model_validate(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    ("keys", "both"),
    [
        ({"font_size_min": 50}, ("font_size_min", "font_size_max")),
        ({"font_size_max": 300}, ("font_size_max", "img_size")),
        ({"img_size": {"width": 1000, "height": 40}}, ("font_size_max", "img_size")),
        ({"max_amount": 100}, ("max_amount", "img_size")),
        ({"rotate": False, "rotation_degrees": 30}, ("rotation_degrees", "rotate")),
        ({"rotation_degrees": 0}, ("rotate", "rotation_degrees")),
    ],
)
def test_a_combination_that_makes_no_sense_names_both_fields(keys, both):
    text = message(**keys)
    assert all(name in text for name in both), text


def test_many_numbers_are_fine_when_they_may_overlap():
    assert NumbersSource(max_amount=100, overlap=True).max_amount == 100


@pytest.mark.parametrize(
    "keys",
    [
        {"sample_count": -1},
        {"max_number": 0},
        {"max_number": 256},
        {"max_amount": 0},
        {"rotation_degrees": 181},
        {"compress_level": 10},
        {"min_contrast": 128},
        {"sampel_count": 3},
        {"augmentation": {"flipp": True}},
    ],
)
def test_a_value_out_of_range_or_a_misspelt_key_names_the_key(keys):
    assert next(iter(keys)) in message(**keys)


def test_numbers_of_several_digits_need_more_room():
    sizes = [NumbersSource(max_number=count, font_size_max=40, max_amount=1).room_px for count in (10, 100, 255)]
    assert sizes == sorted(set(sizes))
