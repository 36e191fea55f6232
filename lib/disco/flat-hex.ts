/**
 * Keys and ids as texts that maps can have as keys. Hex that is made digit by digit is a chain of pieces in some engines,
 * 2 KB for a key, for as long as it lives; this is one piece.
 */

/** Lower-case hex of up to 64 bytes, in one piece. */
export function flatHex(bytes: Uint8Array): string {
  const codes: number[] = [];
  for (let i = 0; i < bytes.length; i++) codes.push(digit(bytes[i]! >> 4), digit(bytes[i]! & 15));
  return String.fromCharCode(...codes);
}

function digit(value: number): number {
  return value < 10 ? 48 + value : 87 + value;
}
