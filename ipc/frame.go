package ipc

import (
	"errors"
	"fmt"
)

// Types of control frames.
const (
	frameHello = 1 + iota
	frameWaiting
	frameRefused
	frameWelcome
	frameExtent
	frameMapped
	frameRegistered
	frameWant
	frameDenied
	frameForget
	frameTrim
	frameDoorbell
	frameFailure
	frameWatch
)

const (
	frameHead  = 8
	maxFrame   = 4096
	maxHandles = 4
)

// Halves of a block.
const (
	outgoing = 0 // allocated by the companion
	incoming = 1 // allocated by the engine
	passed   = 2 // one parcel from another companion, for reading
)

var errShort = errors.New("a frame of wrong length")

type hello struct {
	version            uint16
	pid                uint32
	outgoing, incoming uint64
	name               string
	noSpin             bool // stays here
}

func (h hello) encode() []byte {
	b := append(make([]byte, 0, 34+len(h.name)), magicHello...)
	b = le.AppendUint16(b, h.version)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, h.pid)
	b = le.AppendUint64(b, h.outgoing)
	b = le.AppendUint64(b, h.incoming)
	b = le.AppendUint16(b, uint16(len(h.name)))
	return append(b, h.name...)
}

// decodeHello reads the version even from a hello of another layout.
func decodeHello(b []byte) (hello, error) {
	if len(b) < 12 || string(b[:8]) != magicHello {
		return hello{}, errors.New("not a companion of Berth")
	}
	h := hello{version: le.Uint16(b[8:])}
	if h.version != Version {
		return h, nil
	}
	if len(b) < 34 || len(b) != 34+int(le.Uint16(b[32:])) {
		return hello{}, errShort
	}
	h.pid = le.Uint32(b[12:])
	h.outgoing, h.incoming = le.Uint64(b[16:]), le.Uint64(b[24:])
	h.name = string(b[34:])
	if !validName(h.name) {
		return hello{}, fmt.Errorf("%w: %q is not a name of 1 to 64 characters of [a-zA-Z0-9._-]", ErrAddress, h.name)
	}
	return h, nil
}

type refusal struct {
	code, version uint16
	text          string
}

// Codes of refused.
const (
	refuseVersion = 1 + iota
	refuseName
	refuseQuota
	refuseBroken
)

func (r refusal) encode() []byte {
	b := le.AppendUint16(nil, r.code)
	b = le.AppendUint16(b, r.version)
	return append(b, r.text...)
}

func decodeRefusal(b []byte) (refusal, error) {
	if len(b) < 4 {
		return refusal{}, errShort
	}
	return refusal{le.Uint16(b), le.Uint16(b[2:]), string(b[4:])}, nil
}

type welcome struct {
	version                                uint16
	index, generation, slots, unit, window uint32
	directory, lane, largest, whole        uint64
}

func (w welcome) encode() []byte {
	b := le.AppendUint16(make([]byte, 0, 56), w.version)
	b = le.AppendUint16(b, 0)
	for _, v := range []uint32{w.index, w.generation, w.slots, w.unit, w.window} {
		b = le.AppendUint32(b, v)
	}
	b = le.AppendUint64(b, w.directory)
	b = le.AppendUint64(b, w.lane)
	b = le.AppendUint64(b, w.largest)
	return le.AppendUint64(b, w.whole)
}

func decodeWelcome(b []byte) (welcome, error) {
	if len(b) < 2 {
		return welcome{}, errShort
	}
	if v := le.Uint16(b); v != Version {
		return welcome{}, otherVersion(uint32(v))
	}
	if len(b) != 56 {
		return welcome{}, errShort
	}
	w := welcome{
		version: le.Uint16(b), index: le.Uint32(b[4:]), generation: le.Uint32(b[8:]),
		slots: le.Uint32(b[12:]), unit: le.Uint32(b[16:]), window: le.Uint32(b[20:]),
		directory: le.Uint64(b[24:]), lane: le.Uint64(b[32:]), largest: le.Uint64(b[40:]), whole: le.Uint64(b[48:]),
	}
	if !powerOfTwo(w.slots) || w.slots > maxSlots || !powerOfTwo(w.unit) || w.unit < minUnit || w.window == 0 ||
		w.lane < laneHead+2*uint64(w.slots)*recordSize || w.directory < directorySize {
		return welcome{}, errors.New("a welcome that contradicts itself")
	}
	return w, nil
}

type extentFrame struct {
	segment, half uint32
	size          uint64
}

func (e extentFrame) encode() []byte {
	b := le.AppendUint32(make([]byte, 0, 16), e.segment)
	b = le.AppendUint32(b, e.half)
	return le.AppendUint64(b, e.size)
}

func decodeExtent(b []byte) (extentFrame, error) {
	if len(b) != 16 {
		return extentFrame{}, errShort
	}
	e := extentFrame{le.Uint32(b), le.Uint32(b[4:]), le.Uint64(b[8:])}
	if e.half > passed || e.segment == 0 || e.size == 0 || e.size > 1<<40 {
		return extentFrame{}, errors.New("an impossible extent")
	}
	return e, nil
}

func decodeUint32(b []byte) (uint32, error) {
	if len(b) != 4 {
		return 0, errShort
	}
	return le.Uint32(b), nil
}

func decodeUint64(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, errShort
	}
	return le.Uint64(b), nil
}

func powerOfTwo(v uint32) bool { return v != 0 && v&(v-1) == 0 }
