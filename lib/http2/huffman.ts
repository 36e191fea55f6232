/**
 * The Huffman code of HPACK (RFC 7541 §5.2 and Appendix B), decoding only.
 *
 * The code is canonical: within a length, codes count up with the symbol, and a longer code follows on from the
 * shorter ones. So the number of codes per length and the symbols in that order are the whole table.
 */

/** How many codes have 0, 1, 2, … 30 bits. */
const COUNTS = Object.freeze([
  0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19, 29, 0, 4,
]);

/** The symbols by length of their code, then by value. The last, 256, is EOS. */
const SYMBOLS = Object.freeze([
  48, 49, 50, 97, 99, 101, 105, 111, 115, 116, 32, 37, 45, 46, 47, 51, 52, 53, 54, 55, 56, 57, 61, 65, 95, 98, 100, 102,
  103, 104, 108, 109, 110, 112, 114, 117, 58, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83,
  84, 85, 86, 87, 89, 106, 107, 113, 118, 119, 120, 121, 122, 38, 42, 44, 59, 88, 90, 33, 34, 40, 41, 63, 39, 43, 124,
  35, 62, 0, 36, 64, 91, 93, 126, 94, 125, 60, 96, 123, 92, 195, 208, 128, 130, 131, 162, 184, 194, 224, 226, 153, 161,
  167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169,
  170, 173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232, 233, 1, 135, 137, 138, 139, 140, 141, 143, 147, 149,
  150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180, 182, 183, 188, 191, 197, 231, 239, 9, 142, 144, 145, 148,
  159, 171, 206, 215, 225, 236, 237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240,
  242, 243, 255, 203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254, 2, 3, 4,
  5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 127, 220, 249, 10, 13, 22,
  256,
]);

const EOS = 256;

/**
 * Text of the code in `buf[start, end)`, one character per octet. Undefined when EOS occurs, or when the bits behind
 * the last symbol are more than 7 or not all ones (RFC 7541 §5.2).
 */
export function huffmanDecode(buf: Uint8Array, start: number, end: number): string | undefined {
  let text = '';
  let code = 0;
  let first = 0; // first code of this length
  let index = 0; // its place among the symbols
  let length = 0;
  let areOnes = true;
  for (let at = start; at < end; at++) {
    for (let shift = 7; shift >= 0; shift--) {
      const bit = (buf[at]! >> shift) & 1;
      code = (code << 1) | bit;
      first <<= 1;
      length++;
      areOnes = areOnes && bit === 1;
      const count = COUNTS[length]!;
      if (code - first >= count) {
        first += count;
        index += count;
        continue;
      }
      const symbol = SYMBOLS[index + code - first]!;
      if (symbol === EOS) return undefined; // CHECK: hpack-huffman-eos
      text += String.fromCharCode(symbol);
      code = first = index = length = 0;
      areOnes = true;
    }
  }
  if (length > 7) return undefined; // CHECK: hpack-huffman-padding-length
  if (!areOnes) return undefined; // CHECK: hpack-huffman-padding-ones
  return text;
}
