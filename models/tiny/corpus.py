# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Reads the public-domain texts of models/tiny; makes its chat turns and its tokenizer from them.
"""Corpus of models/tiny. `python corpus.py --sources DIR` prints what it finds there.

Getting the sources on Debian, without installing them:

    apt-get download bible-kjv bible-kjv-text dict-devil r-cran-janeaustenr
    for deb in *.deb; do dpkg-deb -x "$deb" sources; done
"""

import argparse
import dataclasses
import gzip
import pathlib
import random
import re
import struct
import subprocess
import zlib

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
USER, ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
HELD_OUT_FRACTION = 0.03

HOW_TO_GET = __doc__.split("\n\n", 1)[1]


@dataclasses.dataclass
class Work:
    """One book: `documents` in reading order, each a (title, paragraphs) pair."""

    name: str
    kind: str  # "scripture", "novel" or "dictionary"
    documents: list

    def split(self):
        """(training documents, held-out documents): the end of every work is never trained on."""
        held_out = max(1, round(len(self.documents) * HELD_OUT_FRACTION))
        return self.documents[:-held_out], self.documents[-held_out:]


def read_bible(root):
    """The King James Version, printed by Debian's own reader because its data file is packed."""
    data = root / "usr/lib"
    program = root / "usr/bin/bible"
    command = [str(program.resolve()), "-p", str(data.resolve()), "-l9999", "gen1:1-rev22:21"]
    printed = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    documents = []
    for line in printed.stdout.decode("ascii").splitlines():
        verse = re.match(r" +(\d+) (.+)", line)
        if verse:
            documents[-1][1].append(verse.group(2).strip())
        elif line.strip():
            documents.append((line.strip(), []))
    return [Work("The Bible, King James Version", "scripture", documents)]


def read_r_strings(database):
    """Every character vector of an R lazy-load database: zlib streams of R's XDR serialisation."""
    position = 0
    while position < len(database):
        stream = zlib.decompressobj()
        data = stream.decompress(database[position + 4 :])  # the 4 bytes are the unpacked size
        position = len(database) - len(stream.unused_data)
        name_length = struct.unpack(">I", data[14:18])[0]
        offset = 18 + name_length  # "X\n", format version, two R versions, native encoding
        kind, count = struct.unpack(">II", data[offset : offset + 8])
        if kind & 0xFF != 16:
            raise ValueError(f"R database: expected a character vector (16), found {kind & 0xFF}")
        offset += 8
        strings = []
        for _ in range(count):
            length = struct.unpack(">i", data[offset + 4 : offset + 8])[0]
            offset += 8
            strings.append(data[offset : offset + max(length, 0)].decode("utf-8"))
            offset += max(length, 0)
        yield strings


def read_austen(root):
    """The six novels of Jane Austen, one document a chapter, one string a paragraph."""
    package = root / "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"
    titles = ["Emma", "Mansfield Park", "Northanger Abbey", "Persuasion", "Pride and Prejudice",
              "Sense and Sensibility"]  # the package stores them in this order
    works = []
    for title, lines in zip(titles, read_r_strings(package.read_bytes()), strict=True):
        if title.upper() not in lines[0].upper():
            raise ValueError(f"R database: expected {title!r}, found {lines[0]!r}")
        documents = []
        chapters = re.split(r"(?m)^ *chapter +[\divxlc]+\.? *$", "\n".join(lines), flags=re.I)
        for number, chapter in enumerate(chapters[1:], start=1):
            chapter = re.split(r"(?m)^ *(?:THE END|FINIS|Transcriber's note.*)$", chapter,
                               flags=re.I)[0]
            paragraphs = [clean(p) for p in re.split(r"\n\s*\n", chapter)]
            paragraphs = [p for p in paragraphs if p and not re.match(r"VOLUME [IVX]+$", p)]
            documents.append((f"{title}, Chapter {number}", paragraphs))
        works.append(Work(title, "novel", documents))
    return works


def read_devils_dictionary(root):
    """Ambrose Bierce's dictionary; an entry is one paragraph, its verses keep their lines."""
    text = gzip.decompress((root / "usr/share/dictd/devil.dict.dz").read_bytes()).decode("ascii")
    text = text[text.index("ABASEMENT, n.") : text.rindex(" abcdefghij")]
    entries = []
    for block in re.split(r"\n\s*\n", text):
        verse = block.startswith("  ")
        block = "\n".join(clean(x) for x in block.split("\n")) if verse else clean(block)
        if not block.strip():
            continue
        if re.match(r"[A-Z][A-Z' -]+[A-Z](?:, |\.)", block):
            entries.append(block)
        elif entries:
            entries[-1] += "\n" + block.strip("\n")
    groups = [entries[i : i + 10] for i in range(0, len(entries), 10)]
    return [Work("The Devil's Dictionary", "dictionary",
                 [(f"The Devil's Dictionary, Part {i}", g) for i, g in enumerate(groups, start=1)])]


def clean(paragraph):
    """One line, single spaces, no underscores of emphasis."""
    return re.sub(r"\s+", " ", paragraph.replace("_", "")).strip()


def read_works(root):
    root = pathlib.Path(root)
    try:
        return read_bible(root) + read_austen(root) + read_devils_dictionary(root)
    except FileNotFoundError as error:
        raise SystemExit(f"{error}\n\n{HOW_TO_GET}") from error


def document_text(work, document):
    title, paragraphs = document
    return f"{title}\n\n" + ("\n" if work.kind == "scripture" else "\n\n").join(paragraphs)


def split_in_half(text):
    """Cut at the clause end nearest the middle; None when there is none."""
    cuts = [m.end() for m in re.finditer(r"[,;:.!?] ", text)]
    cut = min(cuts, key=lambda c: abs(c - len(text) // 2), default=None)
    return None if cut is None else (text[:cut].strip(), text[cut:].strip())


def chat_turns(work, documents, rng):
    """(user, assistant) turns made from the training documents alone, in reading order."""
    for title, paragraphs in documents:
        for index, text in enumerate(paragraphs):
            following = paragraphs[index + 1] if index + 1 < len(paragraphs) else None
            if work.kind == "scripture":
                form = rng.choice(["reference", "question", "half", "half", "next"])
                place = f"{title}:{index + 1}"
                halves = split_in_half(text)
                if form == "reference":
                    yield place, text
                elif form == "question":
                    yield f"What is written in {place}?", text
                elif form == "half" and halves:
                    yield halves
                elif form == "next" and following:
                    yield text, following
            elif work.kind == "dictionary":
                word, _, meaning = text.partition(", ")
                meaning = re.sub(r"^[a-z.]+ ?(?:[a-z]+\.)? ", "", meaning).split("\n")[0]
                if meaning:
                    form = rng.choice(["What is {}?", "Define {}.", "{}", "What does {} mean?"])
                    yield form.format(word.lower()), meaning
            elif following and len(text) < 1200:
                spoken = text.startswith('"') and following.startswith('"')
                if spoken or rng.random() < 0.25:
                    strip = '"' if spoken and '"' not in text[1:-1] + following[1:-1] else ""
                    yield text.strip(strip or None), following.strip(strip or None)


def train_tokenizer(texts, vocab_size):
    """A byte-level BPE laid out like DeepSeek-V3's: its splits, its BOS rule, its special ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([])
    words = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^""" "\r\n"
             r"""\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[""" "\r\n"
             r"""]*|\s*[""" "\r\n" r"""]+|\s+(?!\S)|\s+""")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"),
        pre_tokenizers.Split(Regex("[一-龥぀-ゟ゠-ヿ]+"), "isolated"),
        pre_tokenizers.Split(Regex(words), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 2, special_tokens=[BOS, EOS, PAD], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    # As published, the role markers follow the vocabulary and are not "special" to the decoder.
    tokenizer.add_tokens(
        [AddedToken(t, normalized=False, special=False) for t in (USER, ASSISTANT)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, 0)])
    if tokenizer.get_vocab_size() != vocab_size:
        raise ValueError(f"vocabulary: expected {vocab_size}, found {tokenizer.get_vocab_size()}")
    return tokenizer


def encode_documents(tokenizer, texts):
    """Token lists, each from BOS to EOS."""
    bos, eos = tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS)
    batch = tokenizer.encode_batch(texts, add_special_tokens=False)
    return [[bos, *encoding.ids, eos] for encoding in batch]


def encode_chats(tokenizer, works, seed):
    """Conversations of one to four turns, in the chat template's form."""
    rng = random.Random(seed)
    bos, eos = tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS)
    user, assistant = tokenizer.token_to_id(USER), tokenizer.token_to_id(ASSISTANT)
    chats = []
    for work in works:
        sides = [side for turn in chat_turns(work, work.split()[0], rng) for side in turn]
        sides, left = tokenizer.encode_batch(sides, add_special_tokens=False), 0
        for question, answer in zip(sides[::2], sides[1::2]):
            if left == 0:
                chats.append([bos])
                left = rng.randint(1, 4)
            chats[-1] += [user, *question.ids, assistant, *answer.ids, eos]
            left -= 1
    rng.shuffle(chats)
    return chats


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sources", default="/", help="root under which the packages lie")
    for work in read_works(parser.parse_args().sources):
        kept, held_out = work.split()
        size = sum(len(document_text(work, d)) for d in work.documents)
        print(f"{work.name}: {len(kept)} + {len(held_out)} documents, {size:,} characters")
        for user, assistant in list(chat_turns(work, kept, random.Random(0)))[30:33]:
            print(f"    {user!r}\n        -> {assistant!r}")


if __name__ == "__main__":
    main()
