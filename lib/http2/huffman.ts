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

/** The octets by length of their code, then by value, as a text: an array would take 4 KB of a board's flash. */
const SYMBOLS =
  '012aceiost %-./3456789=A_bdfghlmnpru:BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz&*,;XZ!"()?\'+|#>\x00$@[]~^}<`{\\\xc3\xd0' +
  '\x80\x82\x83\xa2\xb8\xc2\xe0\xe2\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6\x81\x84\x85\x86\x88\x92\x9a' +
  '\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93' +
  '\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5\xe7\xef\x09\x8e\x90\x91\x94\x9f\xab\xce' +
  '\xd7\xe1\xec\xed\xc7\xcf\xea\xeb\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff\xcb\xcc\xd3\xd4\xd6' +
  '\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12' +
  '\x13\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f\xdc\xf9\x0a\x0d\x16';

/** The last symbol, behind all octets. */
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
      const symbol = index + code - first;
      if (symbol === EOS) return undefined; // CHECK: hpack-huffman-eos
      text += SYMBOLS[symbol];
      code = first = index = length = 0;
      areOnes = true;
    }
  }
  if (length > 7) return undefined; // CHECK: hpack-huffman-padding-length
  if (!areOnes) return undefined; // CHECK: hpack-huffman-padding-ones
  return text;
}
