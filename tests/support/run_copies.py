"""Copies of simulated runs, to be damaged: far cheaper than to simulate them again."""

import dataclasses
import shutil


def copied(truth, directory):
    """A copy of a run of `synth.euxfel` in a new directory, as its truth."""
    shutil.copytree(truth.directory, directory)
    files = {
        module: [directory / path.relative_to(truth.directory) for path in paths]
        for module, paths in truth.files.items()
    }
    return dataclasses.replace(truth, directory=directory, files=files)
