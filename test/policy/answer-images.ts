import fc from 'fast-check';

/** Where a module's answer begins that is copied from an image. */
export const IMAGE_AT = 1024;
/** The answer itself, then the entries of its lists. */
const IMAGE_WORDS = 192;
const WORD_BYTES = 4;
const MEMORY_BYTES = 65536;

/** The lists of an answer by the canonical ABI: at which word of it its address stands, and the bytes of an entry. */
const LISTS = {
  admit: [
    { word: 2, entryBytes: 16 },
    { word: 4, entryBytes: 12 },
    { word: 6, entryBytes: 28 },
    { word: 8, entryBytes: 16 },
    { word: 10, entryBytes: 16 },
  ],
  complete: [
    { word: 4, entryBytes: 16 },
    { word: 6, entryBytes: 24 },
  ],
} as const;

/** Numbers beside every boundary that a reader of them could have. */
const EDGES = [
  ...[0, 1, 2, 3, 4, 7, 8, 255, 256, 4095, 4096, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff],
  ...[MEMORY_BYTES, MEMORY_BYTES - 1, MEMORY_BYTES - 8, MEMORY_BYTES + 1],
];

const edge = fc.constantFrom(...EDGES);
const anyWord = fc.oneof(
  { weight: 4, arbitrary: fc.nat(8) },
  { weight: 2, arbitrary: edge },
  fc.nat(0xffffffff),
);

/** A list's address: mostly inside the image, where lists may overlap each other and the answer; else anywhere. */
const listAddress = fc.oneof(
  { weight: 8, arbitrary: fc.nat((IMAGE_WORDS * WORD_BYTES) / 8 - 8).map((place) => IMAGE_AT + 8 * place) },
  { weight: 1, arbitrary: fc.nat(IMAGE_WORDS * WORD_BYTES).map((place) => IMAGE_AT + place) },
  { weight: 1, arbitrary: edge },
);

/** How many entries: few, as many as wrap around 2^32 with their bytes, or anything. */
function listCount(entryBytes: number): fc.Arbitrary<number> {
  const wrapping = Math.ceil(2 ** 32 / entryBytes);
  return fc.oneof(
    { weight: 16, arbitrary: fc.nat(3) },
    { weight: 1, arbitrary: fc.constantFrom(wrapping - 1, wrapping, wrapping + 1) },
    { weight: 1, arbitrary: anyWord },
  );
}

/** What a module leaves in its memory for one answer, and where it says that the answer is. */
export interface AnswerImage {
  at: number;
  image: Uint8Array;
}

/** Images that know the canonical ABI's layout: sound answers, and such as are unsound in one place or in all. */
export function answerImages(method: 'admit' | 'complete'): fc.Arbitrary<AnswerImage> {
  const lists = fc.tuple(
    ...LISTS[method].map(({ entryBytes }) => fc.tuple(listAddress, listCount(entryBytes))),
  );
  const at = fc.oneof(
    { weight: 12, arbitrary: fc.constant(IMAGE_AT) },
    { weight: 1, arbitrary: fc.nat(64).map((place) => IMAGE_AT + place) },
    { weight: 1, arbitrary: edge },
  );
  const words = fc.array(anyWord, { minLength: IMAGE_WORDS, maxLength: IMAGE_WORDS });
  return fc
    .record({ at, words, lists, isTame: fc.integer({ min: 0, max: 3 }) })
    .map(({ at, words, lists, isTame }) => {
      const image = new Uint32Array(words);
      // Small bytes are sound flags and enumerations; without them hardly any plan would get as far as its lists.
      if (isTame > 0) for (const [index, word] of words.entries()) image[index] = word & 1;
      for (const [index, [address, count]] of lists.entries()) {
        const { word } = (LISTS[method] as readonly { word: number }[])[index] as { word: number };
        image[word] = address;
        image[word + 1] = count;
      }
      return { at, image: new Uint8Array(image.buffer) };
    });
}
