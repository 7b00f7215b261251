package control

import "context"

// Status asks about the controller itself.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.run(ctx, call{"GET", path("status"), nil, true}, &s)
	return s, err
}

// List asks for jobs.
func (c *Client) List(ctx context.Context, f Filter) ([]Job, error) {
	var l JobList
	err := c.run(ctx, call{"GET", path("jobs") + f.query(), nil, true}, &l)
	return l.Jobs, err
}

// Do gives a command to jobs. It is durable when Do returns; what it did to each
// job stands in the outcomes.
func (c *Client) Do(ctx context.Context, v Verb, s Select) ([]Outcome, error) {
	var l OutcomeList
	err := c.run(ctx, call{"POST", path("jobs", string(v)), s, true}, &l)
	return l.Outcomes, err
}

// New begins a package. [Client.Collect] is the easier way.
func (c *Client) New(ctx context.Context, n NewPackage) (p Package, err error) {
	err = c.run(ctx, call{"POST", path("packages"), n, false}, &p)
	return p, err
}

// Package asks what a package holds.
func (c *Client) Package(ctx context.Context, id string) (p Package, err error) {
	err = c.run(ctx, call{"GET", path("packages", id), nil, true}, &p)
	return p, err
}

// AddFile adds a file that the controller can read; its path must be absolute.
func (c *Client) AddFile(ctx context.Context, id string, f AddFile) (it Item, err error) {
	err = c.run(ctx, call{"POST", path("packages", id, "items"), f, false}, &it)
	return it, err
}

// RemoveItem takes an item out of a package.
func (c *Client) RemoveItem(ctx context.Context, id, item string) error {
	return c.run(ctx, call{"DELETE", path("packages", id, "items", item), nil, false}, nil)
}

// Commit hands a package over for delivery. It is durable when Commit returns.
func (c *Client) Commit(ctx context.Context, id string) (j Job, err error) {
	err = c.run(ctx, call{"POST", path("packages", id, "commit"), struct{}{}, true}, &j)
	return j, err
}

// Discard gives a package up.
func (c *Client) Discard(ctx context.Context, id string) error {
	return c.run(ctx, call{"DELETE", path("packages", id), nil, false}, nil)
}

// Destinations asks for the configured destinations.
func (c *Client) Destinations(ctx context.Context) ([]Destination, error) {
	var l DestinationList
	err := c.run(ctx, call{"GET", path("destinations"), nil, true}, &l)
	return l.Destinations, err
}

// TestDestination tries to reach a destination.
func (c *Client) TestDestination(ctx context.Context, name string) error {
	return c.run(ctx, call{"POST", path("destinations", name, "test"), struct{}{}, true}, nil)
}

// Quit asks the controller to drain and end. Once it can have arrived it is not
// repeated: the next controller is not meant.
func (c *Client) Quit(ctx context.Context) error {
	return c.run(ctx, call{"POST", path("quit"), struct{}{}, false}, nil)
}

// OpenMonitor asks for a way into the monitor page that works once.
func (c *Client) OpenMonitor(ctx context.Context) (a MonitorAccess, err error) {
	err = c.run(ctx, call{"POST", path("monitor"), struct{}{}, true}, &a)
	return a, err
}
