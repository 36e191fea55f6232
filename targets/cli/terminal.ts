/** A person at a terminal: questions, and their editor. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { createInterface } from 'node:readline/promises';
import { quote } from './args.ts';
import { RunError } from './errors.ts';
import type { PolicyTerminal } from './policy-put.ts';

/** Editor unless told. */
const USUAL_EDITOR = process.platform === 'win32' ? 'notepad' : 'vi';
/** What a shell says of a command that it does not find, or may not run. */
const NOT_FOUND = Object.freeze([126, 127]);
/** Signals that are for the editor while it runs. */
const EDITOR_SIGNALS = Object.freeze(['SIGINT', 'SIGQUIT'] as const);

/** The terminal of this process. $VISUAL and $EDITOR are commands, as a shell reads them. */
export function processTerminal(env: NodeJS.ProcessEnv): PolicyTerminal {
  const { stdin, stderr } = process;
  return {
    edit: async path => {
      const editor = env['VISUAL'] || env['EDITOR'] || USUAL_EDITOR;
      const code = await runEditor(editor, path);
      if (NOT_FOUND.includes(code)) throw new RunError(`cannot start the editor ${quote(editor)}: set EDITOR`);
      return code;
    },
    ask: async question => {
      if (!stdin.isTTY || !stderr.isTTY) return undefined;
      const lines = createInterface({ input: stdin, output: stderr });
      const gone = new Promise<undefined>(resolve => lines.once('close', () => resolve(undefined))); // Ctrl-C, Ctrl-D
      try {
        const answer = await Promise.race([lines.question(question), gone]);
        if (answer === undefined) stderr.write('\n');
        return (answer ?? 'n').trim().toLowerCase();
      } finally {
        lines.close();
      }
    },
  };
}

function runEditor(editor: string, path: string): Promise<number> {
  const ignore = () => undefined;
  const isWindows = process.platform === 'win32';
  return new Promise((resolve, reject) => {
    for (const signal of EDITOR_SIGNALS) process.on(signal, ignore);
    const child = isWindows
      ? spawn(`${editor} "${path}"`, { shell: true, stdio: 'inherit' })
      : spawn('/bin/sh', ['-c', `${editor} "$1"`, 'sh', path], { stdio: 'inherit' });
    const done = (settle: () => void) => {
      for (const signal of EDITOR_SIGNALS) process.off(signal, ignore);
      settle();
    };
    child.once('error', cause =>
      done(() => reject(new RunError(`cannot start the editor ${quote(editor)}: ${cause.message}`, { cause }))),
    );
    child.once('close', (code, signal) =>
      done(() => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))),
    );
  });
}
