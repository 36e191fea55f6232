/** A URL as a QR code of half blocks, for a phone that looks at the terminal. */
import { encode } from 'uqr';

/** Empty modules around the code (ISO/IEC 18004 asks for four; two are enough on a terminal). */
const BORDER = 2;

/**
 * Lines of the code, light on a dark ground: two rows of modules in one line of text. Undefined when it is wider than
 * `columns`, or the text is too long for a code.
 */
export function qrLines(text: string, columns: number): string[] | undefined {
  let data: boolean[][];
  let size: number;
  try {
    ({ data, size } = encode(text, { ecc: 'L', border: BORDER }));
  } catch {
    return undefined;
  }
  if (size > columns) return undefined;
  const lines: string[] = [];
  for (let row = 0; row < size; row += 2) {
    let line = '';
    for (let column = 0; column < size; column++) {
      const isUpperLight = !data[row]![column];
      const isLowerLight = data[row + 1] === undefined ? false : !data[row + 1]![column];
      line += isUpperLight ? (isLowerLight ? '█' : '▀') : isLowerLight ? '▄' : ' ';
    }
    lines.push(line);
  }
  return lines;
}
