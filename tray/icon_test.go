package tray

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/png"
	"testing"
)

var moods = []mood{moodAway, moodIdle, moodActive, moodPaused, moodError}

func TestIconsDiffer(t *testing.T) {
	seen := map[string]mood{}
	var size image.Rectangle
	for _, m := range moods {
		b := iconPNG(m)
		if other, ok := seen[string(b)]; ok {
			t.Errorf("moods %d and %d look the same", m, other)
		}
		seen[string(b)] = m
		img, err := png.Decode(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if size == (image.Rectangle{}) {
			size = img.Bounds()
		}
		if img.Bounds() != size {
			t.Errorf("mood %d has another size: %v", m, img.Bounds())
		}
		_, _, _, corner := img.At(0, 0).RGBA()
		r, g, b2, inside := img.At(3, 16).RGBA()
		want := moodColor(m)
		if corner != 0 || inside != 0xffff || uint8(r>>8) != want.R || uint8(g>>8) != want.G || uint8(b2>>8) != want.B {
			t.Errorf("mood %d: corner %x, plate %x %x %x %x, want %v", m, corner, r, g, b2, inside, want)
		}
	}
}

// TestICO reads the icon file back as Windows does.
func TestICO(t *testing.T) {
	le := binary.LittleEndian
	for _, m := range moods {
		b := iconICO(m)
		if le.Uint16(b[2:]) != 1 || le.Uint16(b[4:]) != 2 {
			t.Fatalf("head % x", b[:6])
		}
		for i, n := range []int{16, 32} {
			e := b[6+16*i:]
			length, at := int(le.Uint32(e[8:])), int(le.Uint32(e[12:]))
			if int(e[0]) != n || int(e[1]) != n || le.Uint16(e[6:]) != 32 || at+length > len(b) {
				t.Fatalf("entry % x of %d bytes", e[:16], len(b))
			}
			dib := b[at : at+length]
			if le.Uint32(dib) != 40 || le.Uint32(dib[4:]) != uint32(n) || le.Uint32(dib[8:]) != uint32(2*n) || length != 40+4*n*n+n*4 {
				t.Fatalf("bitmap of %d bytes, head % x", length, dib[:40])
			}
			checkPixels(t, dib[40:], drawIcon(m, n))
		}
	}
}

func checkPixels(t *testing.T, bgra []byte, want *image.NRGBA) {
	t.Helper()
	n := want.Bounds().Dx()
	for y := range n {
		for x := range n {
			p, c := bgra[4*((n-1-y)*n+x):], want.NRGBAAt(x, y)
			if p[0] != c.B || p[1] != c.G || p[2] != c.R || p[3] != c.A {
				t.Fatalf("pixel %d,%d is % x, want %v", x, y, p[:4], c)
			}
		}
	}
}
