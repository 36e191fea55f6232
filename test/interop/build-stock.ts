/**
 * Builds every stock program that interop needs and that no package brings: `npx tsx test/interop/build-stock.ts`.
 *
 * What the cache holds already is left alone. Exit codes: 0 all are there, 1 some could not be built.
 */
import { buildStock, buildTool, newestWireguardGo, STOCK_NAMES } from './programs.ts';

let isWhole = newestWireguardGo() !== undefined;
for (const name of STOCK_NAMES) {
  const startMs = performance.now();
  const folder = buildStock(name);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(0);
  process.stdout.write(`${name}: ${folder ?? 'could not be built'} (${seconds} s)\n`);
  isWhole &&= folder !== undefined;
}
if (isWhole) for (const name of ['derp', 'h2']) buildTool(name);
process.exit(isWhole ? 0 : 1);
