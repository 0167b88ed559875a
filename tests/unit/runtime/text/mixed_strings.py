# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Mixed strings for tokenizer tests: prose, code, CJK, emoji, numbers, white space, markers.

    python3 mixed_strings.py COUNT [SEED]     prints COUNT JSON strings, one a line
"""
import json
import random
import sys
import unicodedata

WORDS = """the of and to in a is that for it as was with be by on not he his but at are this have from or
had an they which one you were all her she there would their we him been has when who will no more if out so
up said what its about than into them can only other time new some could these two may first then do any like
my now over such our man me even most made after also did many off before must well back through years much
where your way down should because long each just state those people too mr how little good world make very
year still see own work men day get here old between both life being under three never know same last another
while us might great go come since against right came take used himself few house use place during high
without again home around small however found part school thought went say general once upon war every don't
can't it's we'll they've I'm you'd SHE'LL IT'S""".split()
CODE = [
    "def f(x):\n    return x**2 + 1\n", "for (int i = 0; i < n; ++i) {\n\ta[i] += b[i];\n}\n",
    "#include <vector>\nstd::vector<int> v{1,2,3};", "SELECT * FROM t WHERE a >= 10 AND b != 'x';",
    "if __name__ == \"__main__\":\n    main()\r\n", "let x = () => { return y?.z ?? 0 };",
    "<div class=\"a b\">text</div>", "\\frac{a}{b} + \\sqrt{x_1^2}", "{\"k\": [1, 2.5, -3e10, null]}",
    "git commit -m 'fix: a_b'", "0x7fff_ffff", "a->b::c<d>()", "// comment ---- ====\n/* x */",
    "    \t\tindent", "$HOME/.bashrc && echo \"$PATH\"", "@decorator\nasync def g(): ..."]
CJK = ("的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民"
       "得经十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使点从业本去把性好应开它合还因由其些然前外天政四日那社"
       "义事平形相全表间样与关各重新线内数正心反你明看原又么利比或但质气第向道命此变条只没结解问意建月公无系军很情者最立代想已通并")
KANA = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをんアイウエオカキクケコーッャュョ"
HANGUL = "가나다라마바사아자차카타파하한국어안녕하세요감사합니다"
SYMBOLS = ["😀", "😂", "❤️", "👍🏽", "👨‍👩‍👧‍👦", "🇩🇪", "🏳️‍🌈", "✨", "☕", "©", "™", "→", "∑", "≠", "½",
           "Ⅷ", "①", "٣", "४", "๕", "𝟘", "ﬁ", "ſ", "İ", "\u212a", "\u212b"]
OTHER = ["naïve", "Straße", "café", "cafe\u0301", "über", "Ελλάδα", "Привет, мир!", "שלום", "مرحبا", "नमस्ते",
         "ภาษาไทย", "Ünï", "ﷺ", "\u200b", "\u00a0", "\u3000", "\u2028", "\ufeff", "\u180e", "\u0085",
         "e\u0301\u0302", "한글", "\u1112\u1161\u11ab", "ǆ", "ŉ", "𐐷", "𠮷", "\u0000", "\x07", "\x7f",
         "\u00ad", "\u202e"]
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", " \n", "\n ", " " * 9, "\t\t", "\r", "\n\n\n",
          "  \n  \n", "\u00a0 "]
MARKERS = ["<｜User｜>", "<｜begin▁of▁sentence｜>", "<think>", "</think>", "<|im_start|>", "<|endoftext|>",
           "<s>", "</s>", "<｜end", "<|EOT|>", "<unk>", "<0x0A>"]
SIGNS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~。，、！？：；（）「」“”‘’…—–·"


class Mixer:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def some(self, letters, most):
        return "".join(self.random.choice(letters) for _ in range(self.random.randint(1, most)))

    def any_character(self):
        while True:
            code = self.random.choice([
                self.random.randint(0x20, 0x24F), self.random.randint(0x250, 0x1FFF),
                self.random.randint(0x2000, 0x2FFF), self.random.randint(0x10000, 0x1FFFF)])
            if unicodedata.category(chr(code)) not in ("Cn", "Cs"):
                return chr(code) * self.random.randint(1, 3)

    def word(self):
        word = self.random.choice(WORDS)
        return self.random.choice([word, word, word, word.upper(), word.title()])

    def piece(self):
        kinds = [(30, self.word),
                 (6, lambda: self.some("abcdefghijklmnopqrstuvwxyzABCDEFG_", 15)),
                 (10, lambda: self.some("0123456789", 12)),
                 (4, lambda: f"{self.random.random() * 10**self.random.randint(0, 6):.{self.random.randint(0, 5)}f}"),
                 (10, lambda: self.some(CJK, 12)),
                 (4, lambda: self.some(KANA, 8)),
                 (3, lambda: self.some(HANGUL, 6)),
                 (6, lambda: "".join(self.random.choice(SYMBOLS) for _ in range(self.random.randint(1, 3)))),
                 (6, lambda: self.random.choice(OTHER)),
                 (7, lambda: self.some(SIGNS, 4)),
                 (6, lambda: self.random.choice(CODE)),
                 (2, lambda: self.random.choice(MARKERS)),
                 (3, self.any_character),
                 (3, lambda: self.random.choice(SPACES))]
        return self.random.choices([make for _, make in kinds], [weight for weight, _ in kinds])[0]()

    def text(self, sizes=(1, 2, 3, 5, 8, 13, 30)):
        text = ""
        for _ in range(self.random.choice(sizes)):
            text += self.piece()
            if self.random.random() < 0.15:
                text += self.random.choice(SPACES)
            elif self.random.random() > 0.25:
                text += " "
        return text.strip() if self.random.random() < 0.5 else text


def strings(count, seed=7, sizes=(1, 2, 3, 5, 8, 13, 30)):
    mixer = Mixer(seed)
    return (["", " ", "\n", "  a"] + [mixer.text(sizes) for _ in range(count)])[:count]


if __name__ == "__main__":
    for text in strings(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 7):
        print(json.dumps(text))
