package tray

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"
)

const watcherName = "org.kde.StatusNotifierWatcher"

func available(ctx context.Context) error {
	bus, err := dbus.SessionBusPrivateNoAutoStartup(dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("%w: there is no session bus (%w). Log in to a desktop", ErrNoPlace, err)
	}
	defer bus.Close()
	if err := errors.Join(bus.Auth(nil), bus.Hello()); err != nil {
		return fmt.Errorf("%w: the session bus does not answer (%w). Log in to a desktop", ErrNoPlace, err)
	}
	there, err := hasWatcher(ctx, bus)
	if err != nil {
		return fmt.Errorf("%w: the session bus does not answer (%w)", ErrNoPlace, err)
	}
	if !there {
		return fmt.Errorf("%w: no panel of this desktop shows icons. On GNOME install the extension AppIndicator; elsewhere add a status tray to the panel", ErrNoPlace)
	}
	return nil
}

func hasWatcher(ctx context.Context, bus *dbus.Conn) (there bool, err error) {
	err = bus.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, watcherName).Store(&there)
	return there, err
}

// awaitWatcher returns when the session bus has a place for tray icons, or
// false when ctx is done first. A bus announces the arrival of such a place;
// for a bus itself it looks from time to time, and never starts one.
func awaitWatcher(ctx context.Context, search time.Duration) bool {
	for {
		if watcherAppears(ctx) {
			return true
		}
		select {
		case <-time.After(search):
		case <-ctx.Done():
			return false
		}
	}
}

// watcherAppears waits on the present bus; false when there is none, or no
// longer, or ctx is done.
func watcherAppears(ctx context.Context) bool {
	bus, err := dbus.SessionBusPrivateNoAutoStartup(dbus.WithContext(ctx))
	if err != nil {
		return false
	}
	defer bus.Close()
	if bus.Auth(nil) != nil || bus.Hello() != nil {
		return false
	}
	owners := make(chan *dbus.Signal, 8)
	bus.Signal(owners)
	// Ask for news before asking for the present state, so that nothing falls
	// between the two.
	if bus.AddMatchSignal(
		dbus.WithMatchInterface("org.freedesktop.DBus"),
		dbus.WithMatchMember("NameOwnerChanged"),
		dbus.WithMatchArg(0, watcherName),
	) != nil {
		return false
	}
	there, err := hasWatcher(ctx, bus)
	if err != nil {
		return false
	}
	for !there {
		select {
		case s := <-owners:
			if s == nil {
				return false // the bus is gone
			}
			there = s.Name == "org.freedesktop.DBus.NameOwnerChanged" && len(s.Body) == 3 && s.Body[2] != ""
		case <-ctx.Done():
			return false
		}
	}
	return true
}
