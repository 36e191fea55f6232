#!/usr/bin/env node
/**
 * The `motenet` command: picks the subcommand, maps errors to exit codes, and ends the process. Everything else is in
 * the files beside it.
 */
import { createWasmSuite } from '../../lib/crypto/wasm.ts';
import { selectSuite } from '../../lib/crypto/select.ts';
import { nearestWord } from '../../lib/mote/wg-config.ts';
import { fileStore, host, up } from '../node/index.ts';
import pkg from '../../package.json' with { type: 'json' };
import { runAdmin } from './admin.ts';
import { type AskEnvironment, runLogout, runStatus, runWhois } from './ask.ts';
import { isAdminCommand, parseAdminArgs, parseServerQuestion, usualDataDir } from './admin-args.ts';
import { parseFlags, parseWgArgs, quote, type WgOptions } from './args.ts';
import { runDoctor } from './doctor.ts';
import { EXIT_DONE, EXIT_USAGE, exitCodeOf, messageOf, UsageError } from './errors.ts';
import { COMMANDS, commandHelp, generalHelp } from './help.ts';
import { genkey, genpsk, outputWarning, pubkey } from './keys.ts';
import { runNc } from './nc.ts';
import { parseNetcheckArgs, runNetcheck } from './netcheck.ts';
import { runPing } from './ping.ts';
import { qrLines } from './qr.ts';
import { createReport } from './report.ts';
import { runServe } from './serve.ts';
import { parseServeArgs, type ServeOptions } from './serve-args.ts';
import { createServeReport } from './serve-report.ts';
import { runServerDoctor, runServerStatus } from './server-checks.ts';
import { loadServer } from './server-module.ts';
import { catchSignals, RELOAD_SIGNAL, SIGNALS } from './signals.ts';
import { processTerminal } from './terminal.ts';
import { runUp } from './up.ts';
import {
  parseDoctorArgs,
  parseLogoutArgs,
  parseNcArgs,
  parsePingArgs,
  parseStatusArgs,
  parseUpArgs,
  parseWhoisArgs,
  type UpOptions,
} from './up-args.ts';
import { runWg } from './wg.ts';

/** What standard input may hold: the largest configuration, in UTF-8. */
const INPUT_LIMIT_BYTES = 8_388_608;
/** How long the process may live on after its work is done, with standard input open, say. */
const LINGER_MS = 200;

/** Runs one command line; resolves with the exit code. */
async function main(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  if (command === undefined) {
    err(generalHelp());
    return EXIT_USAGE;
  }
  if (command === '--version' || command === '-V') out(`motenet ${pkg.version}`);
  else if (command === '--help' || command === '-h') out(generalHelp());
  else if (command === 'help') help(rest);
  else if (!Object.hasOwn(COMMANDS, command)) throw new UsageError(describeUnknown(command));
  else if (rest.some(argument => argument === '--help' || argument === '-h')) out(commandHelp(command, rest[0])!);
  else if (command === 'wg') await wg(parseWgArgs(rest));
  else if (command === 'up') await joinTailnet(parseUpArgs(rest, process.env));
  else if (isQuestion(command)) await askMote(command, rest);
  else if (command === 'serve') await serve(parseServeArgs(rest, process.env));
  else if (isAdminCommand(command))
    await runAdmin(parseAdminArgs(command, rest, process.env), {
      ...{ out, err, write, now: Date.now, load: loadServer, readInput: readBytes },
      terminal: processTerminal(process.env),
    });
  else await keyCommand(command, rest);
  return EXIT_DONE;
}

function help(args: readonly string[]): void {
  const [command, more] = args;
  const isGeneral = command === undefined || command === '--help' || command === '-h';
  const text = isGeneral ? generalHelp() : commandHelp(command, more);
  if (text === undefined) throw new UsageError(describeUnknown(command!));
  out(text);
}

function describeUnknown(command: string): string {
  const what = command.startsWith('-') ? 'flag' : 'command';
  const near = nearestWord(command, [...Object.keys(COMMANDS), '--help', '--version']);
  return `no ${what} ${quote(command)}: ${near === undefined ? '`motenet --help` lists what there is' : `did you mean ${near}?`}`;
}

async function keyCommand(command: string, args: readonly string[]): Promise<void> {
  const { positionals } = parseFlags(args, { debug: { type: 'boolean' } }, command);
  if (positionals.length > 0) throw new UsageError(`${command} takes no arguments, got ${quote(positionals[0]!)}`);
  if (command === 'pubkey') out(pubkey(await readInput(), selectSuite([createWasmSuite])));
  else {
    const warning = outputWarning(process.stdout.fd);
    if (warning !== undefined) err(warning);
    out(command === 'genkey' ? genkey(host.random) : genpsk(host.random));
  }
}

async function wg(options: WgOptions): Promise<void> {
  const report = createReport({ isJson: options.isJson, level: options.level, out, err, now: Date.now });
  await untilStopped(report, stopped => runWg(options, { version: pkg.version, report, up, readInput, stopped }));
}

async function joinTailnet(options: UpOptions): Promise<void> {
  const report = createReport({ isJson: options.isJson, level: options.level, out, err, now: Date.now });
  const showCode = (url: string) => {
    const { isTTY, columns } = process.stderr;
    if (isTTY) for (const line of qrLines(url, columns) ?? []) err(line);
  };
  await untilStopped(report, stopped =>
    runUp(options, {
      version: pkg.version,
      pid: process.pid,
      report,
      up,
      createStore: fileStore,
      readInput,
      showCode,
      unixMs: Date.now,
      stopped,
    }),
  );
}

async function serve(options: ServeOptions): Promise<void> {
  const report = createServeReport({ isJson: options.isJson, level: options.level, out, err, now: Date.now });
  const { version } = pkg;
  let reload: () => void = () => undefined; // while it starts the files are about to be read
  const onReload = (listener: () => void) => {
    reload = listener;
  };
  if (options.policies.length > 0) process.on(RELOAD_SIGNAL, () => reload());
  const signals = options.policies.length === 0 ? SIGNALS : SIGNALS.filter(signal => signal !== RELOAD_SIGNAL);
  const environment = { version, report, load: loadServer, onReload };
  await untilStopped(report, stopped => runServe(options, { ...environment, stopped }), signals);
}

/** Runs a command until a signal comes or standard output goes away; a failure is an event, too. */
async function untilStopped(
  report: (event: 'error', fields: { message: string; exitCode: number }) => void,
  run: (stopped: Promise<string>) => Promise<void>,
  caught: readonly NodeJS.Signals[] = SIGNALS,
): Promise<void> {
  const signals = catchSignals(process, () => performance.now(), caught);
  process.stdout.on('error', () => signals.stop('standard output was closed'));
  try {
    await run(signals.stopped);
  } catch (error) {
    report('error', { message: messageOf(error), exitCode: exitCodeOf(error) });
    throw error;
  } finally {
    signals.release();
  }
}

/** Commands that ask a running `motenet up`. */
const QUESTIONS = ['status', 'netcheck', 'doctor', 'nc', 'ping', 'whois', 'logout'] as const;
type Question = (typeof QUESTIONS)[number];

function isQuestion(command: string): command is Question {
  return (QUESTIONS as readonly string[]).includes(command);
}

async function askMote(command: Question, args: readonly string[]): Promise<void> {
  const { env, stdin: input, stdout: output } = process;
  const never = new Promise<never>(() => undefined);
  if ((command === 'status' || command === 'doctor') && args.includes('--server')) {
    const ask = command === 'status' ? runServerStatus : runServerDoctor;
    return ask(parseServerQuestion(command, args, env), { out, unixMs: Date.now, load: loadServer });
  }
  if (command === 'status' || command === 'doctor') {
    const flag = args.find(argument => /^--(data|admin|token)(=|$)/.test(argument))?.replace(/=.*/, '');
    if (flag !== undefined)
      throw new UsageError(`${flag} is about a coordinator: motenet ${command} --server ${flag} …`);
  }
  const environment: AskEnvironment = { out, unixMs: Date.now, stopped: never };
  if (command === 'nc') return runNc(parseNcArgs(args, env), { input, output });
  if (command === 'status') return runStatus(parseStatusArgs(args, env), environment);
  if (command === 'netcheck') return runNetcheck(parseNetcheckArgs(args, env), { out, host });
  if (command === 'doctor')
    return runDoctor(parseDoctorArgs(args, env), {
      ...{ out, unixMs: Date.now, host, serverDir: usualDataDir(env) },
    });
  if (command === 'whois') return runWhois(parseWhoisArgs(args, env), environment);
  if (command === 'logout') return runLogout(parseLogoutArgs(args, env), environment);
  const signals = catchSignals(process, () => performance.now());
  const options = parsePingArgs(args, env);
  await runPing(options, { ...environment, stopped: signals.stopped }).finally(() => signals.release());
}

async function readInput(): Promise<string> {
  return (await readBytes(INPUT_LIMIT_BYTES)).toString('utf8');
}

async function readBytes(limitBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > limitBytes) throw new UsageError(`standard input has more than ${limitBytes} bytes`);
  }
  return Buffer.concat(chunks);
}

function out(line: string): void {
  process.stdout.write(`${line}\n`);
}

function write(text: string): void {
  process.stdout.write(text);
}

function err(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** One line for people; with --debug the stack, and those of its causes. */
function explain(error: unknown): void {
  if (messageOf(error) !== '') err(`motenet: ${messageOf(error)}`);
  if (!process.argv.includes('--debug')) return;
  for (let at: unknown = error; at instanceof Error; at = at.cause) err(at.stack ?? String(at));
}

process.stdout.on('error', () => undefined); // a reader that went away (EPIPE) is no reason for a stack trace
process.stderr.on('error', () => undefined);
main(process.argv.slice(2))
  .catch((error: unknown) => {
    explain(error);
    return exitCodeOf(error);
  })
  .then(code => {
    process.exitCode = code;
    setTimeout(() => process.exit(), LINGER_MS).unref();
  });
