/**
 * One policy put to the test: every source asks for every destination in every way, and what stock has really let in is
 * held against what the evaluator says.
 *
 * A receiver judges the packets of one peer in their order, and lets every echo reply in. So one reply behind the
 * questions says that all of them have been judged. Of peers that it must not know nothing can be heard; their questions
 * are sent first, and have the time that all others take together.
 */
import type { PolicyCompiler } from '../../lib/policy/compiler.ts';
import { entranceOf, entrancesTo, explain } from '../../lib/policy/explain.ts';
import { parseKey } from '../../lib/policy/ip-set.ts';
import { sleep } from './lab.ts';
import { ICMP, ICMPV6, type ProbePacket, SCTP, TCP, UDP } from './policy-packets.ts';
import type { PolicyWorld, ReceiverName, Source } from './policy-world.ts';

/** A question: a packet, and who sends it to whom. */
export interface Question extends ProbePacket {
  readonly of: string;
  readonly peer: ReceiverName;
}

/** What became of one policy. */
export interface Judgement {
  readonly probes: number;
  readonly accepted: number;
  /** Questions that were dropped. */
  readonly dropped: number;
  /** Of these, refused by the receiver's filter as it counts itself. */
  readonly refused: number;
  /** Questions of devices that the receiver must not know: its filter never saw them. */
  readonly strangers: number;
  /** Questions that were neither let in nor counted as refused, though the receiver knows who asked: lost on the way. */
  readonly lost: number;
  /** Questions that were asked again because they should have come and did not; datagrams may be lost. */
  readonly repeated: number;
  /** One line each. */
  readonly disagreements: readonly string[];
}

const GRE = 47;
const ESP = 50;
/** Protocol and port of each question. ICMP of the other family is no ICMP. */
const WAYS: readonly (readonly [number, number])[] = Object.freeze([
  [TCP, 22],
  [TCP, 80],
  [TCP, 443],
  [TCP, 8080],
  [UDP, 53],
  [UDP, 443],
  [SCTP, 443],
  [GRE, 0],
  [ESP, 0],
  [ICMP, 0],
  [ICMPV6, 0],
]);
/** Where each receiver takes packets to, beside its own addresses: two of its subnet, and through it to the internet. */
const BEHIND: Readonly<Record<ReceiverName, readonly string[]>> = Object.freeze({
  gate: Object.freeze(['10.20.0.5', '10.20.200.9', '198.51.100.7', 'fd00:20::5', '2001:db8:9::1']),
  desk: Object.freeze([]),
});
const RECEIVERS: readonly ReceiverName[] = Object.freeze(['gate', 'desk']);
/** After this a reply is sent once more. */
const AGAIN_MS = 400;
const PATIENCE_MS = 15_000;
const LAST_WAIT_MS = 60;
const REPEATS = 2;

/** Puts policies to the test, one after the other. */
export class PolicyJudge {
  readonly #world: PolicyWorld;
  /** Pairs of sender and receiver whose session the receiver has forgotten. */
  readonly #forgotten = new Set<string>();
  readonly #accepted = new Set<number>();
  #lastId = 0;

  constructor(world: PolicyWorld) {
    this.#world = world;
    for (const { of } of world.sources) for (const peer of RECEIVERS) this.#forgotten.add(`${of} ${peer}`);
  }

  /** The policy is set. Waits until the receivers obey it, asks, and compares. */
  async judge(compiler: PolicyCompiler): Promise<Judgement> {
    const { receivers } = this.#world;
    const obeys = (name: ReceiverName) => {
      const { id } = this.#world.device(name);
      return receivers[name].obeys(compiler.rulesFor(id), compiler.visibleTo(id));
    };
    await Promise.all(RECEIVERS.map(obeys));
    const pairs = this.#world.sources.flatMap(({ of, to }) => to.map(peer => `${of} ${peer}`));
    const known = new Set(pairs.filter(pair => this.#canSee(compiler, pair)));
    await this.#renew(known);
    for (const pair of pairs) if (!known.has(pair)) this.#forgotten.add(pair);
    const refusedBefore = await this.#refused();
    const questions = this.#questions();
    // Those that no reply can follow go first.
    const order = [...questions].sort(
      (a, b) => Number(known.has(`${a.of} ${a.peer}`)) - Number(known.has(`${b.of} ${b.peer}`)),
    );
    await this.#ask(order, known);
    const refused = (await this.#refused()) - refusedBefore;
    const strangers = questions.filter(({ of, peer }) => !known.has(`${of} ${peer}`)).length;
    const lost = questions.length - strangers - refused - questions.filter(({ id }) => this.#accepted.has(id)).length;
    const expected = new Map(questions.map(question => [question.id, this.#isExpected(compiler, question)]));
    const repeated = await this.#repeat(
      questions.filter(({ id }) => expected.get(id) === true && !this.#accepted.has(id)),
      known,
    );
    const wrong = questions.filter(({ id }) => expected.get(id) !== this.#accepted.has(id));
    const accepted = questions.filter(({ id }) => this.#accepted.has(id)).length;
    this.#accepted.clear();
    return {
      probes: questions.length,
      accepted,
      dropped: questions.length - accepted,
      refused,
      strangers,
      lost,
      repeated,
      disagreements: wrong.map(question => this.#describe(compiler, question, expected.get(question.id)!)),
    };
  }

  #canSee(compiler: PolicyCompiler, pair: string): boolean {
    const [of, peer] = pair.split(' ');
    return compiler.canSee(this.#world.device(of!).id, this.#world.device(peer!).id);
  }

  async #renew(known: ReadonlySet<string>): Promise<void> {
    const wanted = [...known].filter(pair => this.#forgotten.has(pair));
    const renew = async (pair: string) => {
      const [of, peer] = pair.split(' ');
      await this.#world.senders.call('renew', { of, peer });
      this.#forgotten.delete(pair);
    };
    await Promise.all(wanted.map(renew));
  }

  #questions(): Question[] {
    const out: Question[] = [];
    for (const source of this.#world.sources)
      for (const peer of source.to)
        for (const destination of [...this.#world.addressesOf(peer), ...BEHIND[peer]]) {
          const from = destination.includes(':') ? source.v6 : source.v4;
          for (const [protocol, port] of WAYS)
            out.push(this.#question(source, peer, from, destination, protocol, port));
        }
    return out;
  }

  #question(
    { of }: Source,
    peer: ReceiverName,
    source: string,
    destination: string,
    protocol: number,
    port: number,
  ): Question {
    return { id: ++this.#lastId, of, peer, source, destination, protocol, port };
  }

  /** Sends questions and, behind them, replies, until every reply has come. */
  async #ask(questions: readonly Question[], known: ReadonlySet<string>): Promise<void> {
    const open = new Map<string, number[]>([...known].map(pair => [pair, []]));
    const replies = () =>
      [...open].map(([pair, ids]): Question => {
        const [of, peer] = pair.split(' ') as [string, ReceiverName];
        const { v4 } = this.#world.sources.find(source => source.of === of)!;
        ids.push(++this.#lastId);
        const destination = this.#world.addressesOf(peer)[0];
        return { id: this.#lastId, of, peer, source: v4, destination, protocol: ICMP, port: 0, isReply: true };
      });
    const endMs = performance.now() + PATIENCE_MS;
    await this.#send([...questions, ...replies()]);
    let sentMs = performance.now();
    while (open.size > 0) {
      await sleep(5);
      this.#collect();
      for (const [pair, ids] of open) if (ids.some(id => this.#accepted.has(id))) open.delete(pair);
      if (performance.now() > endMs)
        throw new Error(
          `no reply comes through: ${[...open.keys()].join(', ')}, though ${PATIENCE_MS / 1000} s have passed`,
        );
      if (open.size > 0 && performance.now() - sentMs > AGAIN_MS) {
        await this.#send(replies());
        sentMs = performance.now();
      }
    }
    const hasStrangers = questions.some(({ of, peer }) => !known.has(`${of} ${peer}`));
    if (hasStrangers) await sleep(LAST_WAIT_MS);
    this.#collect();
  }

  /** Asks once more what should have come; a datagram may be lost, and a question has no other answer. */
  async #repeat(missing: readonly Question[], known: ReadonlySet<string>): Promise<number> {
    let left = missing;
    for (let i = 0; i < REPEATS && left.length > 0; i++) {
      await this.#ask(left, new Set([...known].filter(pair => left.some(({ of, peer }) => pair === `${of} ${peer}`))));
      left = left.filter(({ id }) => !this.#accepted.has(id));
    }
    return missing.length;
  }

  async #send(probes: readonly Question[]): Promise<void> {
    await this.#world.senders.call('send', { probes });
  }

  #collect(): void {
    for (const name of RECEIVERS) for (const id of this.#world.receivers[name].takeAccepted()) this.#accepted.add(id);
  }

  async #refused(): Promise<number> {
    const counts = await Promise.all(RECEIVERS.map(name => this.#world.receivers[name].refused()));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** What the evaluator says. Where several devices serve a destination it is asked about the one that was sent to. */
  #isExpected(compiler: PolicyCompiler, { peer, source, destination, protocol, port }: Question): boolean {
    const key = parseKey(destination)!;
    if (compiler.directory.serversOf(key).length === 1)
      return explain(compiler, source, destination, port, protocol).isAllowed;
    const server = compiler.directory.members.get(this.#world.device(peer).id);
    return entranceOf(entrancesTo(compiler, key, port, protocol, server), parseKey(source)!) !== undefined;
  }

  #describe(compiler: PolicyCompiler, question: Question, isExpected: boolean): string {
    const { of, peer, source, destination, protocol, port } = question;
    const { reason } = explain(compiler, source, destination, port, protocol);
    const what = `${of} ${source} to ${peer} ${destination} protocol ${protocol} port ${port}`;
    return `${what}: the evaluator says ${isExpected ? 'yes' : 'no'} (${reason}), stock ${isExpected ? 'dropped' : 'took'} it`;
  }
}
