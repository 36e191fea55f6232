/** Times and tables of the administration: what people write and read. */
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatDuration, formatMoment, formatWhen, parseDuration } from '../../targets/cli/duration.ts';
import { formatTable, plainText, textWidth } from '../../targets/cli/table.ts';

const test = suite('cli admin text');

const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];
const YEAR = 365 * DAY;

test('a span is numbers with units, from large to small', () => {
  const good: readonly [string, number][] = [
    ['1s', SECOND],
    ['90m', 90 * MINUTE],
    ['12h', 12 * HOUR],
    ['90d', 90 * DAY],
    ['2w', 14 * DAY],
    ['1y', YEAR],
    ['1y2w3d4h5m6s', YEAR + 17 * DAY + 4 * HOUR + 5 * MINUTE + 6 * SECOND],
    ['1d12h', 36 * HOUR],
    ['0d1s', SECOND],
    ['007d', 7 * DAY],
    ['285616y', 285_616 * YEAR],
  ];
  for (const [text, ms] of good) assert.is(parseDuration(text), ms, text);
});

test('anything else is no span', () => {
  const bad = [
    '',
    '90',
    'd',
    '-1d',
    '+1d',
    '1.5h',
    '1 d',
    ' 1d',
    '1d ',
    '1D',
    '1x',
    '1h1d',
    '1d1d',
    '1dd',
    '0s',
    '0y0s',
  ];
  for (const text of [...bad, '285617y', '9999999999y', '99999999999s', 'never', '1d\n', '１d', '1e3s'])
    assert.is(parseDuration(text), undefined, text);
});

test('a span is told in one unit, in the smaller one while it would lose much', () => {
  const cases: readonly [number, string][] = [
    [0, '0 seconds'],
    [400, '0 seconds'],
    [SECOND, '1 second'],
    [59 * SECOND, '59 seconds'],
    [MINUTE, '1 minute'],
    [90 * SECOND, '90 seconds'],
    [2 * MINUTE, '2 minutes'],
    [2 * MINUTE + 31 * SECOND, '3 minutes'],
    [HOUR, '1 hour'],
    [HOUR - 5 * SECOND, '1 hour'],
    [DAY - 5 * MINUTE, '1 day'],
    [YEAR - 5 * HOUR, '1 year'],
    [MINUTE - 1, '1 minute'],
    [119 * MINUTE, '119 minutes'],
    [36 * HOUR, '36 hours'],
    [DAY, '1 day'],
    [180 * DAY, '180 days'],
    [YEAR, '1 year'],
    [500 * DAY, '500 days'],
    [10 * YEAR, '10 years'],
  ];
  for (const [ms, text] of cases) assert.is(formatDuration(ms), text);
});

test('a moment is told as seen from now', () => {
  const now = Date.UTC(2026, 0, 31, 12);
  assert.is(formatWhen(now, 0), 'never');
  assert.is(formatWhen(now, now), 'now');
  assert.is(formatWhen(now, now - 999), 'now');
  assert.is(formatWhen(now, now - SECOND), '1 second ago');
  assert.is(formatWhen(now, now - 3 * DAY - 5), '3 days ago');
  assert.is(formatWhen(now, now + HOUR - 200), 'in 1 hour');
  assert.is(formatMoment(now), '2026-01-31 12:00 UTC');
});

test('a table has columns as wide as their widest cell, and none that is empty', () => {
  assert.equal(
    formatTable(
      ['ID', 'NAME', 'EMPTY', 'LAST'],
      [
        ['1', 'a longer name', '', 'x'],
        ['22', '', '', 'yy'],
      ],
    ),
    ['ID  NAME           LAST', '1   a longer name  x', '22                 yy'],
  );
  assert.equal(formatTable(['A', 'B'], [['1', '']]), ['A', '1']);
});

test('wide characters take two columns and combining marks none', () => {
  assert.equal(
    [textWidth('abc'), textWidth('日本'), textWidth('e\u0301'), textWidth('🙂'), textWidth('한')],
    [3, 4, 1, 2, 2],
  );
  assert.equal(
    formatTable(
      ['A', 'B'],
      [
        ['日本', '1'],
        ['abcd', '2'],
      ],
    ),
    ['A     B', '日本  1', 'abcd  2'],
  );
});

test('nothing that a terminal would obey gets through', () => {
  assert.is(plainText('a\u001b[31mred\u009b0m\r\n\tb\u202e\u2066\u200b\u2028\u0000'), 'a?[31mred?0m???b?????');
  assert.is(plainText('Zoë 日本 🙂 ½'), 'Zoë 日本 🙂 ½');
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' })), { minLength: 1 }),
      rows => {
        const lines = formatTable(['ONE', 'TWO'], rows);
        assert.is(lines.length, rows.length + 1);
        for (const line of lines) assert.not.match(line, /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
      },
    ),
    { numRuns: 200 },
  );
});

test.run();
