/**
 * Builds lib/crypto/wasm-bytes.ts from the AssemblyScript in lib/crypto/wasm-src:
 *
 *     node --import tsx test/tools/build-wasm.ts            writes the file
 *     node --import tsx test/tools/build-wasm.ts --check    exit 1 when the file is not what the sources give
 *
 * The compiler's version is pinned in package.json, so that the same sources give the same bytes everywhere.
 * Sources end in `.as`, because they are not TypeScript; the compiler is told that they end in `.ts`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from './files.ts';

const SOURCES = 'lib/crypto/wasm-src';
const TARGET = 'lib/crypto/wasm-bytes.ts';

/**
 * 4 MiB of memory that never grows: growing would cut off the arrays that `allocate` gave out. Untouched pages cost no
 * RAM. `stub` and `noAssert`: nothing is ever allocated inside.
 */
const OPTIONS =
  'index.ts --outFile out.wasm -O3 --noAssert --enable simd --runtime stub --initialMemory 64 --maximumMemory 64';

/** What is used of the compiler. Its own types declare globals, among them another `console`: they stay out. */
interface Compiler {
  main(
    argv: readonly string[],
    host: {
      readFile(name: string): string | null;
      writeFile(name: string, contents: string | Uint8Array): void;
      listFiles(): string[];
    },
  ): Promise<{ readonly error: Error | null; readonly stderr: { toString(): string } }>;
}

/** The WebAssembly binary of the sources, and its text form. Rejects with the compiler's messages. */
export async function compile(): Promise<{ binary: Uint8Array; text: string }> {
  const files = new Map<string, string | Uint8Array>();
  const name = 'assemblyscript/asc';
  const { main } = (await import(name)) as Compiler;
  const { error, stderr } = await main([...OPTIONS.split(' '), '--textFile', 'out.wat'], {
    readFile: readSource,
    writeFile: (name, contents) => void files.set(name, contents),
    listFiles: () => [],
  });
  if (error !== null) throw new Error(`${error.message}\n${stderr.toString()}`);
  return { binary: files.get('out.wasm') as Uint8Array, text: files.get('out.wat') as string };
}

function readSource(name: string): string | null {
  if (!/^[a-z0-9]+\.ts$/.test(name)) return null;
  try {
    return readFileSync(join(ROOT, SOURCES, name.replace(/\.ts$/, '.as')), 'utf8');
  } catch {
    return null;
  }
}

/** The text of wasm-bytes.ts for a binary. */
export function render(binary: Uint8Array): string {
  const base64 = Buffer.from(binary).toString('base64');
  const lines = base64.match(/.{1,110}/g)!.map(line => `  '${line}'`);
  return `/**
 * The compiled form of lib/crypto/wasm-src (${binary.length} bytes), in base64. Made by test/tools/build-wasm.ts from those
 * sources: do not edit; \`build-wasm.ts --check\` says whether it is up to date.
 */

/** A WebAssembly module without imports; lib/crypto/wasm.ts says what it exports. */
export const WASM_BASE64 =
${lines.join(' +\n')};
`;
}

/** Whether the file in the tree is what the sources give. */
export function isUpToDate(binary: Uint8Array): boolean {
  return readFileSync(join(ROOT, TARGET), 'utf8') === render(binary);
}

async function run(options: readonly string[]): Promise<number> {
  const { binary, text } = await compile();
  const print = options.indexOf('--text');
  if (print >= 0) writeFileSync(options[print + 1]!, text);
  if (options.includes('--check')) {
    if (isUpToDate(binary)) return 0;
    console.error(`${TARGET} is not what ${SOURCES} gives: run \`node --import tsx test/tools/build-wasm.ts\``);
    return 1;
  }
  writeFileSync(join(ROOT, TARGET), render(binary));
  console.log(`${TARGET}: ${binary.length} bytes of WebAssembly`);
  return 0;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) process.exitCode = await run(process.argv.slice(2));
