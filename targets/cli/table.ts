/**
 * Tables for people: columns as wide as their widest cell, two spaces between them, none at the end of a line.
 * Cells may come from devices and are shown as they are, except what a terminal would obey.
 */

const GAP = '  ';

/**
 * Lines of a table, headings first. A column without any text in its rows is left out. Each row has as many cells as
 * there are headings.
 */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const cells = rows.map(row => row.map(plainText));
  const columns = headings.map((_, i) => i).filter(i => cells.some(row => row[i] !== ''));
  const widths = columns.map(i => Math.max(...[headings, ...cells].map(row => textWidth(row[i]!))));
  const line = (row: readonly string[]) =>
    columns
      .map((i, at) => row[i]! + ' '.repeat(widths[at]! - textWidth(row[i]!)))
      .join(GAP)
      .trimEnd();
  return [headings, ...cells].map(line);
}

/** The text on one line, with `?` for control and format characters: no escape sequence reaches the terminal. */
export function plainText(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, '?');
}

/** Columns that a text takes on a terminal: none for combining marks, two for wide characters (Unicode UAX #11). */
export function textWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/\p{M}/u.test(character)) continue;
    const code = character.codePointAt(0)!;
    const isWide =
      (code >= 0x1100 && code <= 0x115f) ||
      (code >= 0x2e80 && code <= 0xa4cf) ||
      (code >= 0xac00 && code <= 0xd7a3) ||
      (code >= 0xf900 && code <= 0xfaff) ||
      (code >= 0xfe30 && code <= 0xfe6f) ||
      (code >= 0xff00 && code <= 0xff60) ||
      (code >= 0x1f300 && code <= 0x1faff) ||
      (code >= 0x20000 && code <= 0x3fffd);
    width += isWide ? 2 : 1;
  }
  return width;
}
