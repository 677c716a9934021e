"""PROMPTS: named sets of prompts, as their authors publish them: templates by modality, and what the classes are called
in them.

Adding a set is one value and one line here. A file of one's own templates is read by `prompts_named` as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ironbind.core.registry import Table
from ironbind.data.list_files import templates_in
from ironbind.data.names.class_names import texts_for
from ironbind.types import InputError

# OpenAI's 80 templates of ImageNet's zero-shot evaluation, in their order: github.com/openai/CLIP,
# notebooks/Prompt_Engineering_for_ImageNet.ipynb. MIT licence, Copyright (c) 2021 OpenAI. Permission is hereby granted,
# free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"),
# to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge,
# publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
# furnished to do so, subject to the following conditions: The above copyright notice and this permission notice shall
# be included in all copies or substantial portions of the Software. THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY
# OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A
# PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
# DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION
# WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
_EIGHTY = """
    a bad photo of a {}.|a photo of many {}.|a sculpture of a {}.|a photo of the hard to see {}.|
    a low resolution photo of the {}.|a rendering of a {}.|graffiti of a {}.|a bad photo of the {}.|
    a cropped photo of the {}.|a tattoo of a {}.|the embroidered {}.|a photo of a hard to see {}.|
    a bright photo of a {}.|a photo of a clean {}.|a photo of a dirty {}.|a dark photo of the {}.|a drawing of a {}.|
    a photo of my {}.|the plastic {}.|a photo of the cool {}.|a close-up photo of a {}.|
    a black and white photo of the {}.|a painting of the {}.|a painting of a {}.|a pixelated photo of the {}.|
    a sculpture of the {}.|a bright photo of the {}.|a cropped photo of a {}.|a plastic {}.|a photo of the dirty {}.|
    a jpeg corrupted photo of a {}.|a blurry photo of the {}.|a photo of the {}.|a good photo of the {}.|
    a rendering of the {}.|a {} in a video game.|a photo of one {}.|a doodle of a {}.|a close-up photo of the {}.|
    a photo of a {}.|the origami {}.|the {} in a video game.|a sketch of a {}.|a doodle of the {}.|a origami {}.|
    a low resolution photo of a {}.|the toy {}.|a rendition of the {}.|a photo of the clean {}.|
    a photo of a large {}.|a rendition of a {}.|a photo of a nice {}.|a photo of a weird {}.|a blurry photo of a {}.|
    a cartoon {}.|art of a {}.|a sketch of the {}.|a embroidered {}.|a pixelated photo of a {}.|itap of the {}.|
    a jpeg corrupted photo of the {}.|a good photo of a {}.|a plushie {}.|a photo of the nice {}.|
    a photo of the small {}.|a photo of the weird {}.|the cartoon {}.|art of the {}.|a drawing of the {}.|
    a photo of the large {}.|a black and white photo of a {}.|the plushie {}.|a dark photo of a {}.|itap of a {}.|
    graffiti of the {}.|a toy {}.|itap of my {}.|a photo of a cool {}.|a photo of a small {}.|a tattoo of the {}.
"""
IMAGENET_80 = tuple(one for one in _EIGHTY.replace("\n", "").replace("    ", "").split("|"))


def about(kind: str) -> tuple[str, ...]:
    """OpenAI's 80 templates with "photo" replaced by `kind` ("video"), as LanguageBind has them."""
    return tuple(template.replace("photo", kind) for template in IMAGENET_80)


@dataclass(frozen=True)
class Prompts:
    """`templates`: by modality ("*": any), each with one {}. `author`: whose words for classes count, a key of
    `class_names.TEXTS` ("": the names).
    """

    name: str
    templates: Mapping[str, tuple[str, ...]] = field(repr=False)
    author: str = ""
    source: str = ""

    def templates_for(self, modality: str) -> tuple[str, ...]:
        """Those of a modality. Raises InputError where this set has none for it."""
        templates = self.templates.get(modality, self.templates.get("*"))
        if templates is None:
            raise InputError(
                f"prompts {self.name!r} has none for {modality}; "
                f"expected one of {', '.join(self.templates)}, or other prompts"
            )
        return templates

    def classes_for(self, dataset: str, classes: Sequence[str]) -> tuple[str, ...]:
        """What to write into the templates for the classes of a data set."""
        return texts_for(self.author, dataset, classes)


names = Prompts("names", {"*": ("{}",)}, source="the bare class name")
clip = Prompts("clip", {"image": IMAGENET_80}, "clip", "OpenAI's CLIP, the 80 templates of ImageNet")
languagebind = Prompts(
    "languagebind",
    {
        # event recordings are pictures to LanguageBind, which has no prompts of its own for them
        "image": IMAGENET_80, "thermal": IMAGENET_80, "event": IMAGENET_80,
        "video": about("video"), "depth": about("depth photo"),
        "audio": ("a sound of {}.",),
    },
    "languagebind",
    "LanguageBind's evaluation scripts (MIT)",
)  # fmt: skip

PROMPTS = Table(
    "set of prompts",
    {
        "clip": "ironbind.data.names.prompts:clip",
        "languagebind": "ironbind.data.names.prompts:languagebind",
        "names": "ironbind.data.names.prompts:names",
    },
)


def prompts_named(name: str) -> Prompts:
    """A set of PROMPTS, or the templates of a text file, one a line with {}, for every modality. Raises UnknownName,
    InputError.
    """
    path = Path(name)
    if name not in PROMPTS and (path.suffix or path.is_file()):
        return Prompts(path.name, {"*": templates_in(path)}, source=str(path))
    prompts: Prompts = PROMPTS[name]
    return prompts
