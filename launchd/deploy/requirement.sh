#!/bin/sh
# Prints, in the binary form that a signature has, the requirement
#
#   identifier "IDENTIFIER" and certificate leaf = H"SHA-1 of the certificate"
#
#   sh requirement.sh IDENTIFIER CERTIFICATE.crt >FILE
#
# for the option --requirements of relic, where the certificate is not Apple's: see
# SIGNING.md. It needs openssl. On a Mac, csreq -r='…' -b FILE does the same.
set -eu
if [ $# != 2 ]; then
  echo 'usage: requirement.sh IDENTIFIER CERTIFICATE' >&2
  exit 2
fi
identifier=$1
hash=$(openssl x509 -in "$2" -noout -fingerprint -sha1 | sed 's/.*=//; s/://g')
if [ ${#hash} != 40 ]; then
  echo "$2 is no certificate" >&2
  exit 1
fi

# A number of 32 bits, big-endian, and text with zeros up to a multiple of four: as
# hexadecimal digits.
number() { printf '%08x' "$1"; }
padded() {
  printf %s "$1" | od -An -v -tx1 | tr -d ' \n'
  printf '%*s' "$(((4 - ${#1} % 4) % 4 * 2))" '' | tr ' ' 0
}

# And of two conditions: the identifier is the text, and the certificate in place 0, which
# is the signer's own, has the hash.
and=6 identifier_is=2 certificate_hash_is=4 leaf=0
expression=$(number $and)$(number $identifier_is)$(number ${#identifier})$(padded "$identifier")
expression=$expression$(number $certificate_hash_is)$(number $leaf)$(number 20)$hash

# Before it, the mark of a requirement, the length of all in bytes and the kind of
# expression.
digits=fade0c00$(number $((12 + ${#expression} / 2)))$(number 1)$expression
while [ -n "$digits" ]; do
  rest=${digits#??}
  # shellcheck disable=SC2059 # the format is one byte
  printf "\\$(printf %03o "0x${digits%"$rest"}")"
  digits=$rest
done
