"""The text of ``--help``, made from the tables and the schema so that it cannot fall behind them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from hdrlab.config.check import schema_of, without_none
from hdrlab.config.folder import choices
from hdrlab.config.schema import EXPANSIONS
from hdrlab.config.stages import DATA, STAGES

WIDTH = 110


def train_menu() -> str:
    """Return what ``python -m hdrlab.train --help`` prints."""
    stages = "\n".join(f"  {name:<13} {row.summary}" for name, row in STAGES.items())
    data = "\n".join(f"  {name:<13} {row.summary}" for name, row in DATA.items() if row.batch_keys)
    return f"""Train one stage of an HDR system.

usage: python -m hdrlab.train stage=NAME [key=value ...]

stage=
{stages}

data=
{data}

trainer=     {" | ".join(choices("trainer"))}   (smoke: two steps, to see that a command works)
logger=      {" | ".join(choices("logger"))}
experiment=  {_wrapped(choices("experiment"))}
sweep=       {" | ".join(choices("sweep"))}   (several trainings of one command line; also by -m)

examples
  python -m hdrlab.train stage=hal stage.width=0.25
  python -m hdrlab.train stage=deq data=hdr_synth data.root=~/hdr_pictures
  python -m hdrlab.train -m stage=lin stage.lr=1e-3,1e-4     (every combination, and a table of them)
  python -m hdrlab.train stage=lin sweep=lr sweep.jobs=12    (Optuna looks for the best learning rate)

  python -m hdrlab.train stage=hal --cfg job                 (every key and its value)
  python -m hdrlab.train stage=hal --help                    (every key and its meaning)"""


def _wrapped(names: Iterable[str], indent: int = 13) -> str:
    lines = textwrap.wrap(" | ".join(names), WIDTH - indent)
    return ("\n" + " " * indent).join(lines)


def prepare_menu() -> str:
    """Return what ``python -m hdrlab.prepare --help`` prints."""
    return """Check a folder of HDR pictures, alone or in pairs; write an index and fast files.

usage: python -m hdrlab.prepare data=hdr_synth|hdr_real|tmo_pairs source=FOLDER root=FOLDER [key=value ...]

  source=            the pictures (.hdr, .exr, .tif, .pfm; searched in all subfolders); stays as it is
  root=              the folder to write; give it as data.root to hdrlab.train
  data.manifest=     CSV with columns file and split (train, val, test)
  data.skip_bad=     true leaves out what fails the check instead of stopping

data=hdr_synth
  data.lists.train=  published lists instead: text files, one relative path a line
  data.lists.test=
  data.short_side=   pictures are resized to this short side (512)

data=hdr_real        LDR_in/*.jpg with HDR_gt/*.hdr, SCENE/ldr.jpg with SCENE/hdr.hdr, or *.tfrecords
  data.pairing=      auto | stem | order: how LDR_in and HDR_gt belong together
  data.exposures=    ldr | all: of a stack ldr.jpg, or every photograph of times.csv

data=tmo_pairs       hdr/*.hdr with sdr/*.jpg by their names; dual_.tfrecord or ft_.tfrecord
  data.make_sdr=     true tone-maps pictures without an SDR picture: the best classical operator by TMQI
  data.unlabelled=   a folder of HDR pictures that stay without

Interrupt it whenever you like: the same command goes on where it was."""


def evaluate_menu() -> str:
    """Return what ``python -m hdrlab.evaluate --help`` prints."""
    data = "\n".join(f"  {name:<13} {row.summary}" for name, row in DATA.items())
    return f"""Score trained nets on pictures they never saw, beside classical methods and other programs.

usage: python -m hdrlab.evaluate [checkpoint=PATH] [results.NAME=FOLDER] [data=NAME] [key=value ...]

  checkpoint=   a run's best.ckpt, a slot's, or what hdrlab.import_weights wrote; a file, a folder or a list
                deq, lin, hal, tmo_bottom, tmo_high        the stage's own figures beside doing nothing
                joint, real_finetune, or [deq,lin,hal]     HDR pictures compared with methods=
                tmo_ft, or the nets of IQATM               SDR pictures compared with operators=
                of a list, each whole system is a method: [a/joint.ckpt,b/joint.ckpt]
  results.NAME= what another program made of the same pictures, files named as these; what is missing or
                cannot be used counts as black; hdrlab.photograph writes those of data=tiny, hdr_synth
  task=         reconstruct | tonemap; needed only without a checkpoint, where the data are for both
  split=        test | val | train | all
  pictures=     how many; all unless given
  methods=      beside chains: {" | ".join(EXPANSIONS)};
                doing nothing (srgb) and, where it is known, the camera's true response always take part
  operators=    beside tone mapping, for example [gamma,log,reinhard,drago]
  metrics=      beside our own: cvvdp (ColorVideoVDP) | flip (HDR-FLIP) | hdrvdp2 | hdrvdp3, these two with
                Octave or MATLAB and toolbox.hdrvdp2=FOLDER, toolbox.hdrvdp3=FOLDER
  niqe=         NIQE's model file, for tone mapping
  output=       folder for pictures.csv, summary.json, report.md and report.html; beside the checkpoint
  report=false  no page

data=
{data}

examples
  python -m hdrlab.evaluate checkpoint=runs/slots/tiny/hal.ckpt
  python -m hdrlab.evaluate checkpoint=weights/official data=hdr_real data.root=~/pairs split=all
  python -m hdrlab.evaluate data=folder data.photographs=~/jpg data.references=~/hdr results.theirs=~/out"""


def photograph_menu() -> str:
    """Return what ``python -m hdrlab.photograph --help`` prints."""
    return """Photograph HDR scenes with the camera model: the pictures that stages are scored on, as files.

usage: python -m hdrlab.photograph output=FOLDER [data=tiny|hdr_synth] [key=value ...]

  output=     the folder to write: LDR_in/*.png and HDR_gt/*.exr, on which 1 is the clipping point; what other
              programs make of LDR_in, hdrlab.evaluate results.NAME=FOLDER compares, with the same data=,
              split= and pictures=; data=hdr_real data.root=FOLDER trains on them
  split=      test | val | train
  pictures=   how many; all unless given

example
  python -m hdrlab.photograph output=photographs data=hdr_synth data.root=~/hdr pictures=10"""


def reproduce_menu() -> str:
    """Return what ``python -m hdrlab.reproduce --help`` prints."""
    return """Carry out a paper's chain of trainings, score it, and write claimed beside measured.

usage: python -m hdrlab.reproduce plan=singlehdr|iqatm [scale=tiny|paper] [key=value ...]

  plan=         a name, or a plan of your own: a .yaml like those in experiments/; or a list of these
  scale=        tiny: minutes on two cores, on rendered scenes; paper: the paper's data and lengths
  inputs.NAME=  what scale=paper needs: hdr_synth, train_list, test_list, hdr_real, tmo_pairs, dorf, invemor,
                vgg16, places365; what is missing is listed before anything starts
  devices=      devices for every training;  precision=32 | bf16

Writes runs/reproduce/PLAN-SCALE: report.md, report.html, scores, and runs and slots of its own.

examples
  python -m hdrlab.reproduce plan=singlehdr
  python -m hdrlab.reproduce plan=iqatm scale=paper inputs.tmo_pairs=~/pairs inputs.vgg16=~/vgg16.npy

Interrupt it whenever you like: the same command goes on where it was."""


def import_menu() -> str:
    """Return what ``python -m hdrlab.import_weights --help`` prints."""
    return """Turn published weights into files that hdrlab loads; TensorFlow is not needed.

usage: python -m hdrlab.import_weights source=PATH output=FOLDER [basis=FILE]

  source=   a TensorFlow checkpoint of SingleHDR, SingleHDR-tf2 or IQATM (folder, prefix or .index),
            a VGG-16 file (vgg16.npy, vgg16_places365_weights.npy, .pth, .h5, .safetensors),
            or a folder that holds several of these
  output=   the folder to write, one file per net; give it as checkpoint= to other commands
  basis=    EMoR's invemor.txt, needed for the linearization net: no checkpoint contains it

example
  python -m hdrlab.import_weights source=ckpt_deq_lin_hal_ref output=weights/official basis=invemor.txt
  python -m hdrlab.import_weights source=checkpoint/ftlayer output=weights/iqatm"""


def reconstruct_menu() -> str:
    """Return what ``python -m hdrlab.reconstruct --help`` prints."""
    return """Turn photographs into HDR pictures.

usage: python -m hdrlab.reconstruct input=PATH output=FOLDER [key=value ...]

  input=        a photograph, a folder, a glob pattern, or a list [a.jpg,b.jpg]; JPEG, PNG, TIFF,
                HEIC (pip install 'hdrlab[heic]') and camera raw (pip install 'hdrlab[raw]')
  output=       the folder to write
  checkpoint=   nets: files or a folder of hdrlab.import_weights, or a checkpoint; else the slots
  formats=      exr | hdr | tiff | ultrahdr, or a list [exr,ultrahdr]; a preview PNG comes beside them
  scale=        relative: 1 is the clipping point | diffuse_white: cd/m2, the clipping point at 203
                | median: the median luminance is 0.18
  sheet=true    photograph and result side by side in three exposures, one PNG
  layers=true   the picture after every step, the mask and the response curve, in one EXR
  stages=deq_lin  stop at the linear picture;  refine=false  leave the refinement net out
  memory=2GB    what tiles may take; pictures of any size come out without seams

examples
  python -m hdrlab.reconstruct input=~/photos output=hdr checkpoint=weights/official
  python -m hdrlab.reconstruct input=night.jpg output=hdr formats=[exr,ultrahdr] layers=true

  python -m hdrlab.reconstruct input=X output=Y --help       (every key and its meaning)

Interrupt it whenever you like: the same command goes on where it was."""


def tonemap_menu() -> str:
    """Return what ``python -m hdrlab.tonemap --help`` prints."""
    return """Turn HDR pictures into SDR pictures, for any display.

usage: python -m hdrlab.tonemap input=PATH output=FOLDER [operator=NAME] [key=value ...]

  input=        an HDR picture, a folder, a glob pattern, or a list [a.exr,b.hdr]; OpenEXR, Radiance, PFM,
                float TIFF, Ultra HDR JPEG; what hdrlab.reconstruct writes
  output=       the folder to write
  operator=     one, or a list [iqatm,drago]: each picture's files then bear the operators' names
                iqatm            the learned one; 0.8 KB of memory a pixel
                gamma log reinhard drago filmic                  one curve for all pixels
                reinhard_local durand                            curves that follow the surroundings
                opencv_{reinhard,drago,mantiuk}, colour_*        (pip install 'hdrlab[operators]')
  checkpoint=   nets of iqatm: files or a folder of hdrlab.import_weights, or a checkpoint; else the slot
  sheet=true    the operators' pictures side by side, with their names
  format=       png | png16 | jpeg, with quality=95
  normalize=    iqatm: minmax as the authors | percentile, where single pixels are too bright | none

examples
  python -m hdrlab.tonemap input=hdr/lamp.exr output=sdr operator=reinhard
  python -m hdrlab.tonemap input=hdr output=sdr operator=[iqatm,drago,durand] sheet=true

  python -m hdrlab.tonemap input=X output=Y --help           (every key and its meaning)

Interrupt it whenever you like: the same command goes on where it was."""


def key_lines(declared: type, values: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Describe every key of a composed configuration: ``key = value   meaning``.

    Args:
        declared: Schema class.
        values: Composed plain values, interpolations unresolved.
        where: Dotted prefix of the section.
    """
    hints = get_type_hints(declared)
    for described in fields(declared):
        kind, _ = without_none(hints[described.name])
        value = values.get(described.name)
        if is_dataclass(kind) and isinstance(kind, type):
            if isinstance(value, Mapping):
                yield from key_lines(schema_of(kind, value), value, f"{where}{described.name}.")
        else:
            limits = described.metadata.get("choices")
            legal = f" [{' | '.join(limits)}]" if limits else ""
            shown = "null" if value is None else ", ".join(value) if isinstance(value, tuple) else value
            if isinstance(value, Mapping):
                shown = ", ".join(f"{name}: {one}" for name, one in value.items())
            yield f"  {where}{described.name} = {shown}\n      {described.metadata['help']}{legal}"
