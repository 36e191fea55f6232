/** Signals: an orderly end first, an end at once after that. */
import { EventEmitter } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { catchSignals, SAME_SIGNAL_MS, SIGNALS } from '../../targets/cli/signals.ts';

const test = suite('cli signals');

class FakeProcess extends EventEmitter {
  readonly exits: number[] = [];
  exit(code: number): void {
    this.exits.push(code);
  }
}

function setUp() {
  const source = new FakeProcess();
  const clock = { ms: 1000 };
  return { source, clock, stop: catchSignals(source, () => clock.ms) };
}

test('each signal asks for an orderly end and gives its name as the reason', async () => {
  for (const signal of SIGNALS) {
    const { source, stop } = setUp();
    source.emit(signal, signal);
    assert.is(await stop.stopped, signal);
    assert.equal(source.exits, []);
  }
});

test('the same Ctrl-C may arrive several times at once; one that comes later ends the process at once', () => {
  const { source, clock } = setUp();
  source.emit('SIGINT', 'SIGINT');
  clock.ms += SAME_SIGNAL_MS - 1;
  source.emit('SIGINT', 'SIGINT');
  assert.equal(source.exits, []);
  clock.ms += 1;
  source.emit('SIGINT', 'SIGINT');
  assert.equal(source.exits, [130]);
});

test('a later signal of another kind has its own exit code', () => {
  const { source, clock } = setUp();
  source.emit('SIGINT', 'SIGINT');
  clock.ms += SAME_SIGNAL_MS;
  source.emit('SIGTERM', 'SIGTERM');
  assert.equal(source.exits, [143]);
});

test('a reason of its own ends the command, too, and release gives the signals back', async () => {
  const { source, stop } = setUp();
  stop.stop('standard output was closed');
  assert.is(await stop.stopped, 'standard output was closed');
  stop.release();
  assert.equal(source.eventNames(), []);
});

test.run();
