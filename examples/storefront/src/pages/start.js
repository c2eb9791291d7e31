export default {
  title: 'Welcome',
  html: `
    <h1>Good things for the house</h1>
    <p>This shop has an entrance and nothing else: sign up, sign in, look after your account.</p>
    <p class="actions"><a class="button when-out" href="/sign-up">Sign up</a><a class="button when-in" href="/account">Your account</a></p>`,
};
