// Stock clients of a relay (tailscale.com/derp/derphttp), for the cases of ../../tailscale-derp.ts. Trusts what
// SSL_CERT_FILE names.
//
//	derp echo URL                sends every packet back to its sender; prints its key first
//	derp frozen URL SECONDS PPS  pairs that exchange packets beside a receiver that reads, freezes, and drips;
//	                             prints one JSON object per phase
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/net/netmon"
	"tailscale.com/types/key"
)

const packetBytes = 1300

// The receiver beside the pairs is sent so many times as much, so that what the kernel holds for it is soon full.
const otherTimes = 4

const isFrozen = "is frozen"

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// connect logs a new client in. A receive buffer above zero bounds what the kernel takes for a client that does not read.
func connect(url string, receiveBuffer int) (*derphttp.Client, key.NodePublic) {
	private := key.NewNode()
	client, err := derphttp.NewClient(private, url, func(string, ...any) {}, netmon.NewStatic())
	fail(err)
	if receiveBuffer > 0 {
		client.SetURLDialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			var dialer net.Dialer
			conn, err := dialer.DialContext(ctx, network, address)
			if err == nil {
				err = conn.(*net.TCPConn).SetReadBuffer(receiveBuffer)
			}
			return conn, err
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fail(client.Connect(ctx))
	client.NotePreferred(true)
	return client, private.Public()
}

func echo(url string) {
	client, public := connect(url, 0)
	fmt.Println(public.String())
	for {
		message, err := client.Recv()
		fail(err)
		if packet, ok := message.(derp.ReceivedPacket); ok {
			fail(client.Send(packet.Source, bytes.Clone(packet.Data)))
		}
	}
}

// A flow is a sender and a receiver, and what of the sender's packets arrived whole.
type flow struct {
	from, to *derphttp.Client
	public   key.NodePublic
	sent     atomic.Int64
	received atomic.Int64
	damaged  atomic.Int64
}

func newFlow(url string, receiveBuffer int) *flow {
	f := &flow{}
	f.from, _ = connect(url, 0)
	f.to, f.public = connect(url, receiveBuffer)
	return f
}

func packet(number int64) []byte {
	out := bytes.Repeat([]byte{byte(number)}, packetBytes)
	binary.BigEndian.PutUint64(out, uint64(number))
	return out
}

// send sends at a steady rate until the time is over, in groups of at most 10 ms.
func (f *flow) send(perSecond int, until time.Time) {
	begun := time.Now()
	for done := 0; time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		for due := int(time.Since(begun).Seconds() * float64(perSecond)); done < due; done++ {
			if f.from.Send(f.public, packet(f.sent.Load())) != nil {
				return
			}
			f.sent.Add(1)
		}
	}
}

// receiveOne waits for one packet and counts it; false when the connection ended.
func (f *flow) receiveOne() bool {
	message, err := f.to.Recv()
	if err != nil {
		return false
	}
	if got, ok := message.(derp.ReceivedPacket); ok {
		if len(got.Data) != packetBytes || !bytes.Equal(got.Data, packet(int64(binary.BigEndian.Uint64(got.Data)))) {
			f.damaged.Add(1)
		}
		f.received.Add(1)
	}
	return true
}

// version tells which tailscale.com this is.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "tailscale.com" {
				return dep.Version
			}
		}
	}
	return "unknown"
}

type phase struct {
	Version string
	Phase   string
	Rates   []float64 // packets per second that arrived, by pair
	Sent    []float64
	Damaged int64
	Other   float64 // packets per second of the receiver beside them
}

func frozen(url string, seconds float64, perSecond int) {
	pairs := []*flow{newFlow(url, 0), newFlow(url, 0), newFlow(url, 0)}
	for _, pair := range pairs {
		go func() {
			for pair.receiveOne() {
			}
		}()
	}
	run := func(name string, read func(*flow)) {
		other := newFlow(url, 4096)
		go read(other)
		time.Sleep(200 * time.Millisecond)
		var wait sync.WaitGroup
		begun := time.Now()
		length := time.Duration(seconds * float64(time.Second))
		if name == isFrozen {
			length += 3 * time.Second // until the kernel is full, and the relay's patience over
		}
		until := begun.Add(length)
		result := phase{Version: version(), Phase: name}
		received, sent := make([]int64, len(pairs)), make([]int64, len(pairs))
		for i, pair := range pairs {
			received[i], sent[i] = pair.received.Load(), pair.sent.Load()
			wait.Go(func() { pair.send(perSecond, until) })
		}
		wait.Go(func() { other.send(otherTimes*perSecond, until) })
		wait.Wait()
		took := time.Since(begun).Seconds()
		time.Sleep(200 * time.Millisecond)
		for i, pair := range pairs {
			result.Rates = append(result.Rates, float64(pair.received.Load()-received[i])/took)
			result.Sent = append(result.Sent, float64(pair.sent.Load()-sent[i])/took)
			result.Damaged += pair.damaged.Load()
		}
		result.Other = float64(other.received.Load()) / took
		fail(json.NewEncoder(os.Stdout).Encode(result))
		other.from.Close()
		other.to.Close()
	}
	reading := func(f *flow) {
		for f.receiveOne() {
		}
	}
	run("reads", reading)
	run(isFrozen, func(*flow) {})
	run("drips", func(f *flow) {
		for i := 0; float64(i) < seconds*20 && f.receiveOne(); i++ {
			time.Sleep(50 * time.Millisecond)
		}
	})
	run("reads again", reading)
}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "echo":
		echo(os.Args[2])
	case len(os.Args) == 5 && os.Args[1] == "frozen":
		seconds, err := strconv.ParseFloat(os.Args[3], 64)
		fail(err)
		perSecond, err := strconv.Atoi(os.Args[4])
		fail(err)
		frozen(os.Args[2], seconds, perSecond)
	default:
		fmt.Fprintln(os.Stderr, "usage: derp echo URL | derp frozen URL SECONDS PPS")
		os.Exit(2)
	}
}
