package grpcproxy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// prefixSize is the size of the prefix of each gRPC message: a byte that is not zero if the message is compressed, and
// its length.
const prefixSize = 5

// messageReader is what transport streams of grpc-go implement beyond grpc.ServerTransportStream. The gateway reads
// messages with it and not with grpc.ServerStream.RecvMsg, which reads as much as the one limit of the server allows
// before room for it can be reserved, and which answers a message that it cannot read by itself, without a reason.
type messageReader interface {
	ReadMessageHeader(header []byte) error
	Read(n int) (mem.BufferSlice, error)
}

// receiver reads the message of one call.
type receiver struct {
	stream      messageReader
	maxSize     int64 // in bytes
	reservation *edge.Reservation
}

func newReceiver(
	ctx context.Context, maxSize int64, reservation *edge.Reservation,
) (*receiver, error) {
	reader, ok := grpc.ServerTransportStreamFromContext(ctx).(messageReader)
	if !ok {
		return nil, apierr.Internal(errors.New("the transport of grpc-go cannot read a part of a message"))
	}
	return &receiver{reader, maxSize, reservation}, nil
}

// receive reads the message of the call. Like the body of a REST request it must arrive within deadlines.ReadRequest,
// and after edge.SlowAfter it needs a slot. When receive returns early and the call ends, the pending read ends with
// it.
func (r *receiver) receive() (edge.Frame, error) {
	if err := r.reservation.Reserve(edge.InitialReservation); err != nil {
		return nil, err
	}
	var message edge.Frame
	received := make(chan error, 1)
	go func() {
		var err error
		message, err = r.read()
		received <- err
	}()
	if err := r.await(received); err != nil {
		return nil, err
	}
	return message, nil
}

func (r *receiver) await(received <-chan error) error {
	slow := time.NewTimer(edge.SlowAfter)
	defer slow.Stop()
	select {
	case err := <-received:
		return err
	case <-slow.C:
	}
	release, err := r.reservation.AcquireSlowSlot()
	if err != nil {
		return err
	}
	defer release()
	late := time.NewTimer(deadlines.ReadRequest - edge.SlowAfter)
	defer late.Stop()
	select {
	case err := <-received:
		return err
	case <-late.C:
		return apierr.DeadlineExceeded(fmt.Errorf("no message within %v", deadlines.ReadRequest))
	}
}

// read reserves the length of the message before it reads it.
func (r *receiver) read() (_ edge.Frame, err error) {
	defer grpcx.Recover(&err) // The read runs in its own goroutine.
	var prefix [prefixSize]byte
	if err := r.stream.ReadMessageHeader(prefix[:]); err != nil {
		return nil, receiveError(err)
	}
	if prefix[0] != 0 {
		return nil, apierr.MalformedRequest("compressed messages are not supported", nil)
	}
	length := int64(binary.BigEndian.Uint32(prefix[1:]))
	if err := edge.CheckRequestSize(length, r.maxSize); err != nil {
		return nil, err
	}
	if err := r.reservation.Reserve(length); err != nil {
		return nil, err
	}
	message, err := r.stream.Read(int(length))
	if err != nil {
		return nil, receiveError(err)
	}
	defer message.Free()
	return message.Materialize(), nil
}

// receiveError returns MALFORMED_REQUEST for a call that ends before its message does, and err for one that breaks off.
func receiveError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return apierr.MalformedRequest("the call has no valid message", err)
	}
	return err
}
