// Package transfer accepts packages of files, keeps them durably and uploads
// them in the background until every byte has arrived and been proved.
//
// A [Package] is collected item by item and becomes a [Job] at Commit, the one
// moment of acceptance: from then on the [Queue] delivers it or says why not,
// across any crash. The queue knows no protocol. It drives a [Backend], which
// knows no retry, no limit and no schedule: those are decorators around it.
package transfer
