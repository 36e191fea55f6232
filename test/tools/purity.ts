/** `npm run purity`: the neutral tests in the bare realm, on Deno and on Bun. */
import { findFiles } from './files.ts';
import { runFiles } from './run.ts';
import { closingLine, exitCode } from './tally.ts';

const tally = await runFiles(findFiles('test/purity', ['.test.ts']), {
  onFile: (file, output) => console.log(`${file}\n${output}`),
});
console.log(`\n${closingLine(tally)}`);
process.exitCode = exitCode(tally);
