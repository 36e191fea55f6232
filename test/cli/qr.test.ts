/** The QR code of a login page: what a camera would find, and when there is none. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { encode } from 'uqr';
import { qrLines } from '../../targets/cli/qr.ts';

const test = suite('cli qr');
const URL_TEXT = 'http://127.0.0.1:8080/register/89ba8e92e33c21bdbe0f716c0ed27f6e';

/** Whether each module is light, read back from the half blocks. */
function modules(lines: readonly string[]): boolean[][] {
  return lines.flatMap(line => [
    [...line].map(character => character === '█' || character === '▀'),
    [...line].map(character => character === '█' || character === '▄'),
  ]);
}

test('the lines hold every module of the code, with a light border', () => {
  const read = modules(qrLines(URL_TEXT, 80)!);
  const { data, size } = encode(URL_TEXT, { ecc: 'L', border: 2 });
  for (let row = 0; row < size; row++)
    assert.equal(
      read[row],
      data[row]!.map(isDark => !isDark),
    );
  assert.ok(read[0]!.every(Boolean) && read[1]!.every(Boolean), 'border');
});

test('the three finder patterns are where a camera looks for them', () => {
  const read = modules(qrLines(URL_TEXT, 80)!);
  const { size } = encode(URL_TEXT, { ecc: 'L', border: 2 });
  const finder = ['#######', '#.....#', '#.###.#', '#.###.#', '#.###.#', '#.....#', '#######'];
  const at = (row: number, column: number) =>
    finder.map((_, r) =>
      read[row + r]!.slice(column, column + 7)
        .map(isLight => (isLight ? '.' : '#'))
        .join(''),
    );
  for (const [row, column] of [
    [2, 2],
    [2, size - 9],
    [size - 9, 2],
  ] as const)
    assert.equal(at(row, column), finder);
});

test('a narrow terminal and a text without a code get none', () => {
  const width = qrLines(URL_TEXT, 80)![0]!.length;
  assert.is(qrLines(URL_TEXT, width - 1), undefined);
  assert.is(qrLines(URL_TEXT, width)!.length, Math.ceil(width / 2));
  assert.is(qrLines('x'.repeat(5000), 1000), undefined);
});

test.run();
