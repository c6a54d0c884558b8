"""The file of events holds what TensorBoard reads: the first step that counts, then the values."""

import struct

from tensorboardX.proto.event_pb2 import Event, SessionLog

from attention_jax.training.run.events import EventFile


def read(path) -> list[Event]:
    """Returns the events of a file of TFRecords: length, its CRC, the event, its CRC."""
    content, events = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        events.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return events


def test_values_come_back_with_their_names_and_steps(tmp_path):
    events = EventFile(tmp_path / "tensorboard", after_step=6)
    events.write(7, {"train_loss": 0.5, "gradient_norm": float("inf")})
    events.write(8, {"train_loss": 0.25})
    events.close()
    (path,) = (tmp_path / "tensorboard").iterdir()
    assert path.name.startswith("events.out.tfevents.")
    version, start, *values = read(path)
    assert version.file_version == "brain.Event:2"
    # TensorBoard drops what the files of the same folder say of this step and later ones.
    assert (start.step, start.session_log.status) == (7, SessionLog.START)
    assert [(event.step, value.tag, value.simple_value) for event in values for value in event.summary.value] == [
        (7, "train_loss", 0.5),
        (7, "gradient_norm", float("inf")),
        (8, "train_loss", 0.25),
    ]


def test_they_are_on_the_disk_before_it_is_closed(tmp_path, monkeypatch):
    events = EventFile(tmp_path, after_step=0)
    (path,) = tmp_path.iterdir()
    assert len(read(path)) == 2
    events.write(1, {"train_loss": 0.5})
    assert len(read(path)) == 2
    monkeypatch.setattr("attention_jax.training.run.events._SECONDS_BETWEEN_FLUSHES", -1.0)
    events.write(2, {"train_loss": 0.5})
    assert len(read(path)) == 4
    events.close()
