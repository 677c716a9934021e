"""Class names of published data sets as their authors spell them, and what others call the same classes in prompts.

Underscores and CamelCase are read as spaces, as everywhere here. ImageNet's are in `core.names.imagenet_names`,
Places365's come with the set.
"""

import re
from collections.abc import Sequence

_LISTS = {
    # of meta/esc50.csv, in the order of its targets
    "esc50": """dog|rooster|pig|cow|frog|cat|hen|insects|sheep|crow|rain|sea waves|crackling fire|crickets|
        chirping birds|water drops|wind|pouring water|toilet flush|thunderstorm|crying baby|sneezing|clapping|
        breathing|coughing|footsteps|laughing|brushing teeth|snoring|drinking sipping|door wood knock|
        mouse click|keyboard typing|door wood creaks|can opening|washing machine|vacuum cleaner|clock alarm|
        clock tick|glass breaking|helicopter|chainsaw|siren|car horn|engine|train|church bells|airplane|
        fireworks|hand saw""",
    # of metadata/UrbanSound8K.csv, in the order of its class numbers
    "urbansound8k": """air conditioner|car horn|children playing|dog bark|drilling|engine idling|gun shot|
        jackhammer|siren|street music""",
    # of modelnet40_shape_names.txt
    "modelnet40": """airplane|bathtub|bed|bench|bookshelf|bottle|bowl|car|chair|cone|cup|curtain|desk|door|dresser|
        flower pot|glass box|guitar|keyboard|lamp|laptop|mantel|monitor|night stand|person|piano|plant|radio|
        range hood|sink|sofa|stairs|stool|table|tent|toilet|tv stand|vase|wardrobe|xbox""",
    # of classInd.txt
    "ucf101": """Apply Eye Makeup|Apply Lipstick|Archery|Baby Crawling|Balance Beam|Band Marching|Baseball Pitch|
        Basketball|Basketball Dunk|Bench Press|Biking|Billiards|Blow Dry Hair|Blowing Candles|
        Body Weight Squats|Bowling|Boxing Punching Bag|Boxing Speed Bag|Breast Stroke|Brushing Teeth|
        Clean And Jerk|Cliff Diving|Cricket Bowling|Cricket Shot|Cutting In Kitchen|Diving|Drumming|Fencing|
        Field Hockey Penalty|Floor Gymnastics|Frisbee Catch|Front Crawl|Golf Swing|Haircut|Hammering|
        Hammer Throw|Handstand Pushups|Handstand Walking|Head Massage|High Jump|Horse Race|Horse Riding|
        Hula Hoop|Ice Dancing|Javelin Throw|Juggling Balls|Jumping Jack|Jump Rope|Kayaking|Knitting|Long Jump|
        Lunges|Military Parade|Mixing|Mopping Floor|Nunchucks|Parallel Bars|Pizza Tossing|Playing Cello|
        Playing Daf|Playing Dhol|Playing Flute|Playing Guitar|Playing Piano|Playing Sitar|Playing Tabla|
        Playing Violin|Pole Vault|Pommel Horse|Pull Ups|Punch|Push Ups|Rafting|Rock Climbing Indoor|
        Rope Climbing|Rowing|Salsa Spin|Shaving Beard|Shotput|Skate Boarding|Skiing|Skijet|Sky Diving|
        Soccer Juggling|Soccer Penalty|Still Rings|Sumo Wrestling|Surfing|Swing|Table Tennis Shot|Tai Chi|
        Tennis Swing|Throw Discus|Trampoline Jumping|Typing|Uneven Bars|Volleyball Spiking|Walking With Dog|
        Wall Pushups|Writing On Board|Yo Yo""",
    # the folders of 101_ObjectCategories but for BACKGROUND_Google, sorted as they are
    "caltech101": """Faces|Faces easy|Leopards|Motorbikes|accordion|airplanes|anchor|ant|barrel|bass|beaver|binocular|
        bonsai|brain|brontosaurus|buddha|butterfly|camera|cannon|car side|ceiling fan|cellphone|chair|chandelier|
        cougar body|cougar face|crab|crayfish|crocodile|crocodile head|cup|dalmatian|dollar bill|dolphin|
        dragonfly|electric guitar|elephant|emu|euphonium|ewer|ferry|flamingo|flamingo head|garfield|gerenuk|
        gramophone|grand piano|hawksbill|headphone|hedgehog|helicopter|ibis|inline skate|joshua tree|kangaroo|
        ketch|lamp|laptop|llama|lobster|lotus|mandolin|mayfly|menorah|metronome|minaret|nautilus|octopus|okapi|
        pagoda|panda|pigeon|pizza|platypus|pyramid|revolver|rhino|rooster|saxophone|schooner|scissors|scorpion|
        sea horse|snoopy|soccer ball|stapler|starfish|stegosaurus|stop sign|strawberry|sunflower|tick|trilobite|
        umbrella|watch|water lilly|wheelchair|wild cat|windsor chair|wrench|yin yang""",
    # the scenes of NYU-D as LanguageBind publishes them
    "nyud": """bathroom|bedroom|bookstore|classroom|dining room|home office|kitchen|living room|office|others""",
    # in the order of the labels in its HDF5 files
    "scanobjectnn": """bag|bin|box|cabinet|chair|desk|display|door|shelf|table|bed|pillow|sink|sofa|toilet""",
    # of the challenge's category.txt, in order
    "msrvtt": """music|people|gaming|sports/actions|news/events/politics|education|tv shows|movie/comedy|animation|
        vehicles/autos|howto|travel|science/technology|animals/pets|kids/family|documentary|food/drink|cooking|
        beauty/fashion|advertisement""",
    # ours for its crops, called as ImageBind's authors do
    "llvip": """background|person""",
}  # fmt: skip

# Source: the first of the names that taxonomy.json of ShapeNetCore.v2 gives each of its 55 top-level synsets
# ("can,tin,tin can" -> "can").
_SYNSETS = """
    02691156 airplane|02747177 ashcan|02773838 bag|02801938 basket|02808440 bathtub|02818832 bed|02828884 bench|
    02843684 birdhouse|02871439 bookshelf|02876657 bottle|02880940 bowl|02924116 bus|02933112 cabinet|
    02942699 camera|02946921 can|02954340 cap|02958343 car|02992529 cellular telephone|03001627 chair|
    03046257 clock|03085013 computer keyboard|03207941 dishwasher|03211117 display|03261776 earphone|
    03325088 faucet|03337140 file|03467517 guitar|03513137 helmet|03593526 jar|03624134 knife|03636649 lamp|
    03642806 laptop|03691459 loudspeaker|03710193 mailbox|03759954 microphone|03761084 microwave|
    03790512 motorcycle|03797390 mug|03928116 piano|03938244 pillow|03948459 pistol|03991062 pot|04004475 printer|
    04074963 remote control|04090263 rifle|04099429 rocket|04225987 skateboard|04256520 sofa|04330267 stove|
    04379243 table|04401088 telephone|04460130 tower|04468005 train|04530566 vessel|04554684 washer
"""
SHAPENET_SYNSETS = {
    synset: name for synset, _, name in (entry.strip().partition(" ") for entry in _SYNSETS.strip().split("|"))
}
"""ShapeNet's 55 classes by synset number, in the order of these numbers."""

KNOWN = (*_LISTS, "shapenet", "ncaltech101")
"""The data sets whose classes are known here."""


def class_names(dataset: str) -> tuple[str, ...]:
    """The official classes of a data set of KNOWN, in its authors' order. Raises KeyError for another."""
    if dataset == "ncaltech101":  # recordings of Caltech-101's pictures, without those of "Faces"
        return tuple(name for name in class_names("caltech101") if name != "Faces")
    if dataset == "shapenet":
        return tuple(SHAPENET_SYNSETS.values())
    return tuple(name.strip() for name in _LISTS[dataset].split("|"))


def plain(name: str) -> str:
    """A class name as names are compared: without case, blanks and punctuation ("night_stand", "Night Stand")."""
    return re.sub(r"[\W_]+", "", name).casefold()


def data_set_of(classes: Sequence[str]) -> str | None:
    """The data set of KNOWN that has all of these classes and as few others as possible; None where none does, or for
    fewer than half of its classes.

    Tells whose classes a folder's are; of sets with the same classes the first.
    """
    spellings = {plain(name) for name in classes}
    fitting = [
        (len(official), dataset)
        for dataset in KNOWN
        if spellings <= (official := {plain(name) for name in class_names(dataset)})
        and 2 * len(spellings) >= len(official)
    ]
    return min(fitting, key=lambda pair: pair[0])[1] if spellings and fitting else None


TEXTS: dict[str, dict[str, dict[str, str]]] = {
    # zero_shot_metadata.py of LanguageBind (MIT): what it puts into prompts where that is not the folder's name
    "languagebind": {
        "llvip": {"person": "people"},
        "flirv2": {
            "car": "car or pick-up trucks or vans", "light": "traffic light",
            "other vehicle": "construction equipment or trailers", "stroller": "stroller or pram",
            "truck": "semi truck or freight truck",
        },
    },
    # data/prompts.md of OpenAI's CLIP (MIT), where it is not the data set's own name
    "clip": {
        "ucf101": {"Handstand Pushups": "Hand Stand Pushups"},
        "caltech101": {
            "Faces": "off-center face", "Faces easy": "centered face", "Leopards": "leopard",
            "Motorbikes": "motorbike", "airplanes": "airplane", "car side": "side of a car",
            "cougar body": "body of a cougar cat", "cougar face": "face of a cougar cat",
            "crocodile head": "head of a crocodile", "flamingo head": "head of a flamingo",
            "snoopy": "snoopy (cartoon beagle)", "yin yang": "yin and yang symbol",
        },
    },
}  # fmt: skip
"""Author -> data set -> class -> what that author calls it in prompts; classes that are not listed go by their own
names.
"""

TEXTS["clip"]["ncaltech101"] = TEXTS["clip"]["caltech101"]


def texts_for(author: str, dataset: str, classes: Sequence[str]) -> tuple[str, ...]:
    """What `author` writes into prompts for each of these classes of `dataset`."""
    called = {plain(name): text for name, text in TEXTS.get(author, {}).get(dataset, {}).items()}
    return tuple(called.get(plain(name), name) for name in classes)
