/**
 * `npm run bench` lists the benches; `npm run bench -- NAME` runs one: a file of this folder that exports `bench()`.
 *
 * `--short` measures for a shorter time, for continuous checks. The result is printed as a list, or with `--json` as one
 * object on the last line. Exit codes: 0 done, 1 failed or not possible here, 2 no such bench.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/** What the file of a bench exports. */
interface BenchModule {
  bench(options: { readonly isShort: boolean }): Promise<{ readonly [name: string]: unknown }>;
}

const FOLDER = fileURLToPath(new URL('.', import.meta.url));

/** Names of the benches with the first line of what their file says. */
function listBenches(): { name: string; about: string }[] {
  const files = readdirSync(FOLDER).filter(file => file.endsWith('.ts') && file !== 'run.ts');
  return files.sort().flatMap(file => {
    const text = readFileSync(`${FOLDER}/${file}`, 'utf8');
    if (!/^export (async )?function bench\(/m.test(text)) return [];
    const about = /^\/\*\*\n? ?\*? ?(.*?)(?:[.:;]|\*\/|\n)/m.exec(text)?.[1] ?? '';
    return [{ name: file.slice(0, -3), about: about.trim() }];
  });
}

function printFigures(figures: { readonly [name: string]: unknown }, indent = ''): void {
  for (const [name, value] of Object.entries(figures)) {
    if (typeof value === 'object' && value !== null) {
      console.log(`${indent}${name}`);
      printFigures(value as { [name: string]: unknown }, `${indent}  `);
    } else console.log(`${indent}${name.padEnd(24 - indent.length)} ${String(value)}`);
  }
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'boolean' }, short: { type: 'boolean' } },
  });
  const benches = listBenches();
  const [name] = positionals;
  if (name === undefined) {
    for (const bench of benches) console.log(`${bench.name.padEnd(12)} ${bench.about}`);
    return 0;
  }
  if (!benches.some(bench => bench.name === name)) {
    console.error(`no bench "${name}"; there are: ${benches.map(bench => bench.name).join(', ')}`);
    return 2;
  }
  const { bench } = (await import(`./${name}.ts`)) as BenchModule;
  try {
    const figures = await bench({ isShort: values.short === true });
    if (values.json === true) console.log(JSON.stringify(figures));
    else printFigures(figures);
    return 0;
  } catch (error) {
    console.error((error as Error).message);
    return 1;
  }
}

process.exit(await main());
